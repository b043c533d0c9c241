import { gather } from '../../../shaders/gather.js';
import { ROW_THREADS, nativeLookup } from '../../../shaders/rows_native.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import type { Lowering, TablePart } from '../../compile/lowering.js';
import { ROUNDED, type PackedUse, type Step, type StepKernel } from '../../compile/kernel.js';
import { isWhole, ROW_HEADER_BYTES } from '../../compile/packed.js';
import { collapse, deviceBytes, deviceType, elementsOf, pickView, storedType, type View } from '../../compile/view.js';
import { add, ceilDivide, compare, divideExact, equal, mul, product, type Dim } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { flatWorkgroups } from '../elementwise/kernel.js';
import { knownDims } from '../elementwise/fold.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

function axisOf(context: NodeContext): number {
  return context.axis(context.attributes.number('axis', 0), context.input(0).shape.length);
}

export interface GatherCall {
  readonly data: TablePart;
  readonly indices: View;
  readonly output: View;
  readonly axis: number;
  readonly size: Dim;
  /** Runs that a row of the batch has. */
  readonly rowRuns: Dim;
  readonly code: number;
  /** Added to what is copied; in the shape of the output. */
  readonly addend?: View;
}

/** Elements of a run that one invocation copies on a GPU: a vector. */
const ELEMENTS_PER_LANE = 4;
/** And how many of those at once. */
const PIECES_AT_ONCE = 4;
/**
 * More than fill any device. Lookups that share a dispatch get the workgroups of the largest, and those with nothing to do
 * cost time: see docs/performance.md.
 */
const MOST_WORKGROUPS = 8192;

/**
 * The output as runs of elements that one index copies whole: the last dimension behind the axis is the run, everything
 * before it is walked by the strides of data, indices and output.
 */
function runsOf({ data: { view }, indices, output, axis, addend }: Omit<GatherCall, 'size' | 'rowRuns' | 'code'>): {
  readonly run: Dim;
  readonly runStrides: readonly [data: Dim, output: Dim, addend: Dim];
  readonly shape: readonly Dim[];
  /** Of data, indices, output and addend. */
  readonly strides: readonly (readonly Dim[])[];
  readonly repeats: Dim;
} {
  const tail = view.shape.slice(axis + 1);
  const made = [output, ...(addend ? [addend] : [])];
  const lead = output.shape.length - tail.length;
  const behind = collapse({
    shape: tail,
    strides: [view.strides.slice(axis + 1), ...made.map((v) => v.strides.slice(lead))],
  });
  const none = (n: number): Dim[] => Array.from({ length: n }, () => 0);
  const rest = behind.shape.slice(0, -1);
  const [dataTail, ...madeTails] = behind.strides.map((s) => s.slice(0, -1)) as [Dim[], ...Dim[][]];
  const space = collapse({
    shape: [...view.shape.slice(0, axis), ...indices.shape, ...rest],
    strides: [
      [...view.strides.slice(0, axis), ...none(indices.shape.length), ...dataTail],
      [...none(axis), ...indices.strides, ...none(rest.length)],
      ...made.map((v, i) => [...v.strides.slice(0, lead), ...madeTails[i]!]),
    ],
  });
  const last = (i: number): Dim => behind.strides[i]?.at(-1) ?? 0;
  return {
    run: behind.shape.at(-1) ?? 1,
    runStrides: [last(0), last(1), last(2)],
    ...space,
    repeats: product(rest),
  };
}

/**
 * CUDA's own kernel, where indices that lie evenly pick rows whose elements lie together, and nothing is added: as
 * shaders/rows_native.ts has it.
 * @param vectors rows come in fours.
 */
function nativeKernel(call: GatherCall, vectors: boolean): StepKernel | undefined {
  const { data, indices, output, addend, size, rowRuns, code } = call;
  const { run, runStrides, shape, strides, repeats } = runsOf(call);
  const stored = storedType(data.view);
  const inOrder = equal(run, 1) || runStrides.slice(0, 2).every((s) => equal(s, 1));
  if (addend || shape.length > 1 || repeats !== 1 || !inOrder || call.axis !== 0) return undefined;
  if (stored !== 'f32' && !(vectors && (stored === 'f16' || stored === 'i8'))) return undefined;
  const count = product(shape);
  const parts = mul(count, vectors ? divideExact(run, 4)! : run);
  return {
    program: nativeLookup(stored, deviceType(indices.dtype) === 'i64' ? 'i64' : 'i32'),
    dispatch: {
      parameters: {
        count,
        width: run,
        fours: vectors ? 1 : 0,
        first: data.first,
        held: data.count,
        size,
        row_runs: rowRuns,
        code,
        table_start: { start: data.view },
        table_row: data.view.strides[0]!,
        ids_start: { start: indices },
        ids_row: strides[1]![0] ?? 0,
        out_start: { start: output },
        out_row: strides[2]![0] ?? 0,
      },
      workgroups: flatWorkgroups(parts, ROW_THREADS, MOST_WORKGROUPS),
    },
  };
}

/** A lookup reads halves wherever they lie, and codes where an index picks a whole row of them. */
function packedUse({ data: { view }, axis }: GatherCall, repeats: Dim): PackedUse {
  return { as: 'table', types: axis === 0 && repeats === 1 && isWhole(view) ? ['f16', 'i8'] : ['f16'] };
}

export function gatherStep(call: GatherCall): Omit<Step, 'node'> {
  const { data, indices, output, axis, addend } = call;
  const { view } = data;
  const { run, runStrides, shape, strides, repeats } = runsOf(call);
  const count = product(shape);
  const stored = storedType(view);
  const indexType = deviceType(indices.dtype);
  const isFour = stored === 'f32' || stored === 'f16' || stored === 'i8';
  const whole = (dim: Dim): boolean => divideExact(dim, 4) !== undefined;
  const starts = [view.offset, output.offset, view.strides[axis]!, ...strides[0]!, ...strides[2]!];
  if (addend) starts.push(addend.offset, ...strides[3]!);
  const vectors =
    isFour && whole(run) && runStrides.slice(0, addend ? 3 : 2).every((s) => equal(s, 1)) && starts.every(whole);
  const header = stored === 'i8' ? ROW_HEADER_BYTES : 0;
  const moved = add(
    mul(elementsOf(output), deviceBytes(stored) + deviceBytes(storedType(output))),
    mul(elementsOf(indices), header + deviceBytes(indexType)),
  );
  const isRows = axis === 0 && !addend && data.first === 0 && equal(data.count, call.size) && view.shape.length === 2;
  return {
    kernel: addend ? 'Gather+Add' : 'Gather',
    ...(isRows && vectors && stored === 'f32'
      ? { lookup: { table: view, ids: indices, output, size: call.size, rowRuns: call.rowRuns, code: call.code } }
      : {}),
    operands: [
      { view, access: 'read', packed: packedUse(call, repeats) },
      { view: indices, access: 'read' },
      ...(addend ? [{ view: addend, access: 'read' as const }] : []),
      { view: output, access: 'write', ...(deviceType(output.dtype) === 'f32' ? { packed: ROUNDED } : {}) },
    ],
    cost: { operations: 0, bytes: moved },
    bound: 'memory',
    detail: `axis=${axis}${data.first === 0 ? '' : ` from row ${data.first}`}`,
    cuda: () => nativeKernel(call, vectors),
    webgpu(caps) {
      const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
      // A software adapter has no neighbours to read with: one invocation an index reads its own line.
      const lanes = caps.software ? 1 : ceilDivide(run, ELEMENTS_PER_LANE);
      const shift = typeof lanes === 'number' && Number.isInteger(Math.log2(lanes)) ? Math.log2(lanes) : undefined;
      const unroll = caps.software ? 1 : PIECES_AT_ONCE;
      // Lookups that add share a program where their ranks allow it: those of a sequence's parts are one dispatch.
      const rank = Math.max(addend ? 2 : 1, shape.length);
      const padded = (dims: readonly Dim[], fill: Dim): readonly Dim[] => [
        ...Array.from({ length: rank - dims.length }, () => fill),
        ...dims,
      ];
      const program = gather({
        data: stored,
        vectors,
        indices: indexType === 'i64' ? 'i64' : 'i32',
        rank,
        workgroupSize,
        shifts: shift !== undefined,
        unroll,
        adds: addend !== undefined,
        halves: output.storage.type === 'f16',
      });
      return {
        program,
        dispatch: {
          parameters: {
            count,
            axis_size: call.size,
            axis_stride: view.strides[axis]!,
            first: data.first,
            held: data.count,
            run,
            lanes,
            ...(shift === undefined ? {} : { lane_shift: shift }),
            run_data_stride: runStrides[0],
            run_out_stride: runStrides[1],
            row_runs: call.rowRuns,
            code: call.code,
            data_start: { start: view },
            ids_start: { start: indices },
            out_start: { start: output },
            shape: padded(shape, 1),
            data_strides: padded(strides[0]!, 0),
            ids_strides: padded(strides[1]!, 0),
            out_strides: padded(strides[2]!, 0),
            ...(addend
              ? {
                  run_addend_stride: runStrides[2],
                  addend_start: { start: addend },
                  addend_strides: padded(strides[3]!, 0),
                }
              : {}),
          },
          workgroups: flatWorkgroups(
            mul(count, lanes),
            workgroupSize * unroll,
            Math.min(MOST_WORKGROUPS, caps.maxWorkgroupsPerDimension),
          ),
        },
      };
    },
  };
}

/**
 * A single index known at load picks a window; nothing is moved. A constant of which only the query tells whether it is
 * inside its dimension goes through the kernel, which checks it.
 */
function picked(lowering: Lowering, axis: number): View | undefined {
  const { context } = lowering;
  const index = context.elements(1);
  if (index?.length !== 1 || context.input(1).shape.length !== 0) return undefined;
  const size = context.input(0).shape[axis]!;
  const at = typeof index[0] === 'number' && index[0] < 0 ? add(index[0], size) : index[0]!;
  const toEnd = compare(at, size);
  const fromStart = compare(add(at, 1), 0);
  if (toEnd === 0 || toEnd === 1 || fromStart === 0 || fromStart === -1)
    throw context.invalid(`index ${index[0]} is outside dimension ${size}`);
  if ((toEnd === undefined || fromStart === undefined) && context.tensor(1)) return undefined;
  return pickView(lowering.view(0), axis, at);
}

/** The steps that look input `indices` up in input `data`, a step a part of a large table. */
export function lookUp(
  lowering: Lowering,
  call: Pick<GatherCall, 'axis' | 'output' | 'addend'> & { readonly data: number; readonly indices: number },
): void {
  const { axis, output } = call;
  const data = lowering.context.input(call.data);
  const indices = lowering.view(call.indices);
  const size = data.shape[axis]!;
  const parts: readonly TablePart[] =
    axis === 0 ? lowering.parts(call.data) : [{ view: lowering.view(call.data), first: 0, count: size }];
  const { repeats } = runsOf({ ...call, data: parts[0]!, indices });
  const indexCount = product(output.shape.slice(0, output.shape.length - (data.shape.length - axis - 1)));
  const rowIndices = (lowering.rows && divideExact(indexCount, lowering.rows)) ?? indexCount;
  const rowRuns = mul(rowIndices, repeats);
  const code = lowering.check({
    indices: call.indices,
    table: call.data,
    size,
    runsPerIndex: repeats,
    count: elementsOf(indices),
    rowRuns,
  });
  for (const part of parts) lowering.emit(gatherStep({ ...call, data: part, indices, size, rowRuns, code }));
}

/** Gather(data, indices, axis): embedding lookup, column picks, row picks. Negative indices count from the end. */
const GATHER: Operator = {
  type: 'Gather',
  aliases: 'sometimes',
  opsets: [7, 27],
  infer(context) {
    const data = context.input(0);
    const indices = context.input(1);
    if (indices.dtype !== 'int64' && indices.dtype !== 'int32')
      throw context.invalid(`indices of type ${indices.dtype}`);
    const axis = axisOf(context);
    return [
      { dtype: data.dtype, shape: [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)] },
    ];
  },
  fold(context, outputs) {
    const known = context.known(0);
    const indices = context.elements(1);
    const dims = knownDims(outputs[0]!);
    if (known?.kind !== 'symbolic' || known.value.dims.length !== 1 || !indices || !dims) return [undefined];
    const { dtype, elements: from } = known.value;
    const elements = indices.map((i) => (typeof i === 'number' ? from.at(i) : undefined));
    if (elements.some((e) => e === undefined)) throw context.invalid(`an index is outside dimension ${from.length}`);
    return [{ kind: 'symbolic', value: { dtype, dims, elements: elements as Dim[] } }];
  },
  reference(context) {
    const [data, indices] = [context.input(0), context.input(1)];
    const axis = axisOf(context.shapes);
    const size = data.dims[axis]!;
    const inner = sizeOf(data.dims.slice(axis + 1));
    const outer = sizeOf(data.dims.slice(0, axis));
    const out = new Float64Array(outer * indices.data.length * inner);
    let at = 0;
    for (let o = 0; o < outer; o++) {
      for (const raw of indices.data) {
        const index = raw < 0 ? raw + size : raw;
        if (index < 0 || index >= size) throw context.shapes.invalid(`index ${raw} is outside dimension ${size}`);
        const from = (o * size + index) * inner;
        out.set(data.data.subarray(from, from + inner), at);
        at += inner;
      }
    }
    const dims = [...data.dims.slice(0, axis), ...indices.dims, ...data.dims.slice(axis + 1)];
    return [{ dtype: data.dtype, dims, data: out }];
  },
  rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
  keepsRows({ context, rowAxis, outputAxis }) {
    const [axis, at] = [axisOf(context), rowAxis(0)];
    // Indices known at load only: error records count rows by the leading dimension.
    if (!context.known(1) || at === undefined || at === axis) return false;
    return outputAxis === (at < axis ? at : at + context.input(1).shape.length - 1);
  },
  lower(lowering) {
    const { context } = lowering;
    const axis = axisOf(context);
    const window = picked(lowering, axis);
    if (window) {
      lowering.alias(0, window);
      return;
    }
    lookUp(lowering, { data: 0, indices: 1, axis, output: lowering.output(0) });
  },
};

export const GATHER_OPERATORS: readonly Operator[] = [GATHER];
