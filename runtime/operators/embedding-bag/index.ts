import { ROW_THREADS, nativeBag } from '../../../shaders/rows_native.js';
import { INDEX_HELPERS } from '../../../shaders/indexed.js';
import { enterRow, readFour, type FourType } from '../../../shaders/packed.js';
import type { PackedUse, StepKernel } from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { isWhole } from '../../compile/packed.js';
import { deviceBytes, deviceType, isAligned, storedType, type View } from '../../compile/view.js';
import { add, ceilDivide, divideExact, equal, mul, product, shapeText, sub, type Dim } from '../../graph/dim.js';
import { BRAID_DOMAIN } from '../composite.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';
import { placeOf, requireIndices } from '../indexing/gather.js';
import { checkIndices, indexedStep, wordsOf } from '../indexing/step.js';
import type { NodeContext, Operator } from '../operator.js';

/** What becomes of the rows of a bag: WGSL over `acc` and `row`, and what an empty bag starts from. */
const MODES: Readonly<Record<string, { readonly initial: string; readonly step: string; readonly finish: string }>> = {
  sum: { initial: '0.0', step: 'acc + row', finish: 'acc' },
  mean: { initial: '0.0', step: 'acc + row', finish: 'acc / f32(max(used, 1u))' },
  max: { initial: '-3.402823e38', step: 'max(acc, row)', finish: 'select(vec4<f32>(), acc, used > 0u)' },
};

/** Features that an invocation sums: few enough invocations to read a bag's indices, many enough to read side by side. */
const FEATURES = 4;

/** How the body takes its table: the types it knows, and the one that it reads four features at a time of. */
function tableUse(table: View): { readonly packed: PackedUse; readonly fours: FourType | undefined } {
  const packed: PackedUse = { as: 'table', types: isWhole(table) ? ['f16', 'i8'] : ['f16'] };
  const stored = storedType(table);
  // Rows of codes end on whole words.
  if (stored === 'i8') return { packed, fours: stored };
  const isRun = equal(table.strides[1]!, 1) && divideExact(table.shape[1]!, 4) !== undefined && isAligned(table, [0]);
  return { packed, fours: isRun && (stored === 'f16' || stored === 'f32') ? stored : undefined };
}

/** What CUDA's own kernel for bags of one length reads and writes. */
interface FixedBags {
  readonly table: View;
  readonly ids: View;
  readonly output: View;
  readonly mode: string;
  readonly size: Dim;
  readonly padding: Dim;
  readonly code: number;
  readonly rowRuns: Dim;
}

/** That kernel, where rows come in fours and all indices count alike. */
function nativeKernel(bags: FixedBags, most: number): StepKernel | undefined {
  const { table, ids, output, mode, size, padding, code, rowRuns } = bags;
  const { fours } = tableUse(table);
  if (!fours || mode === 'max') return undefined;
  const [count, width] = output.shape as [Dim, Dim];
  const lanes = mul(count, ceilDivide(width, FEATURES));
  return {
    program: nativeBag(fours, deviceType(ids.dtype) === 'i64' ? 'i64' : 'i32'),
    dispatch: {
      parameters: {
        bags: count,
        bag_length: ids.shape[1]!,
        width,
        averages: mode === 'mean' ? 1 : 0,
        padding,
        size,
        row_runs: rowRuns,
        code,
        table_start: { start: table },
        table_row: table.strides[0]!,
        ids_start: { start: ids },
        ids_row: ids.strides[0]!,
        ids_step: ids.strides[1]!,
        out_start: { start: output },
        out_row: output.strides[0]!,
        out_step: output.strides[1]!,
      },
      workgroups: flatWorkgroups(lanes, ROW_THREADS, most),
    },
  };
}

interface Form {
  readonly mode: string;
  /** Indices of a bag where all bags have as many; undefined where offsets tell. */
  readonly fixed: Dim | undefined;
  readonly bags: Dim;
  readonly features: Dim;
}

function formOf(context: NodeContext): Form {
  const [weight, indices, offsets, samples, ends] = [0, 1, 2, 3, 4].map((i) => context.optional(i));
  const mode = context.attributes.string('mode', 'sum');
  if (!MODES[mode]) throw context.invalid(`mode '${mode}'`);
  if (weight?.shape.length !== 2) throw context.invalid('the weight has to be a matrix');
  requireIndices(context, 1);
  const { shape } = indices!;
  if (samples && (samples.shape.length !== shape.length || samples.shape.some((d, i) => !equal(d, shape[i]!))))
    throw context.invalid(
      `weights ${shapeText(samples.shape)} for indices ${shapeText(shape)}, expected as many weights as indices`,
    );
  const features = weight.shape[1]!;
  if (!offsets) {
    if (shape.length !== 2) throw context.invalid('without offsets the indices have to be [bags, length]');
    return { mode, fixed: shape[1]!, bags: shape[0]!, features };
  }
  requireIndices(context, 2);
  if (shape.length !== 1 || offsets.shape.length !== 1) throw context.invalid('indices and offsets have to be lists');
  const last = context.attributes.number('include_last_offset', 0) === 0 ? 0 : 1;
  if (ends) requireIndices(context, 4);
  return { mode, fixed: undefined, bags: ends ? ends.shape[0]! : sub(offsets.shape[0]!, last), features };
}

/** Statements that give `start` and `stop` of bag c0, offsets out of range reported. */
function bounds(lowering: Lowering, total: Dim, views: { offsets: View; ends: View | undefined }) {
  const size = add(total, 1);
  const check = (indices: number) => ({
    indices,
    ...checkIndices(lowering, { indices, table: 1, size, fromZero: true }),
  });
  const starts = check(2);
  const stops = views.ends ? check(4) : starts;
  const read = (name: string, source: View, index: string, codes: string): string => `
    let raw_${name} = ${wordsOf(source)}(${index});
    if (raw_${name}.y != 0u || raw_${name}.x > p.total) {
      if (c1 == 0u) { report(0u, p.${codes}, c0, raw_${name}); }
    }
    let ${name} = select(0u, raw_${name}.x, raw_${name}.y == 0u && raw_${name}.x <= p.total);`;
  return {
    integers: { total, starts_code: starts.code, stops_code: stops.code },
    body: (at: (operand: string, coordinates: readonly string[]) => string, count: string): string => {
      const start = read('start', views.offsets, at('offsets', ['c0']), 'starts_code');
      if (views.ends) return start + read('stop', views.ends, at('ends', ['c0']), 'stops_code');
      // The last offset may be where the indices end, which is then not among the offsets.
      const next = read('next', views.offsets, at('offsets', [`min(c0 + 1u, ${count} - 1u)`]), 'stops_code');
      return `${start}${next}
    let stop = select(p.total, next, c0 + 1u < ${count});`;
    },
  };
}

/**
 * EmbeddingBag(weight, indices, offsets, per_sample_weights, ends): sum, mean or maximum of the rows of a table that each
 * bag lists. Bag b has the indices from offsets[b] to the next offset, or to ends[b]; without offsets, row b of the
 * indices. Indices equal to padding_idx count for nothing; an empty bag gives 0.
 */
const EMBEDDING_BAG: Operator = {
  type: 'EmbeddingBag',
  types: ['f32'],
  note: "also the `Loop` that each of PyTorch's exporters writes",
  domain: BRAID_DOMAIN,
  opsets: [1, 1],
  infer(context) {
    const { bags, features } = formOf(context);
    return [{ dtype: context.input(0).dtype, shape: [bags, features] }];
  },
  reference(context) {
    const { mode, fixed, bags, features } = formOf(context.shapes) as Form & { bags: number; features: number };
    const [weight, indices] = [context.input(0), context.input(1)];
    const [, , offsets, samples, ends] = context.inputs;
    const padding = context.attributes.has('padding_idx') ? context.attributes.number('padding_idx', -1) : undefined;
    const rows = weight.dims[0]!;
    const total = indices.data.length;
    const bound = (value: number): number => {
      if (value < 0 || value > total) throw context.shapes.invalid(`offset ${value} of ${total} indices`);
      return value;
    };
    const data = new Float64Array(bags * features);
    for (let b = 0; b < bags; b++) {
      const length = fixed as number;
      const start = offsets ? bound(offsets.data[b]!) : b * length;
      const next = ends ? ends.data[b]! : (offsets?.data[b + 1] ?? total);
      const stop = offsets ? bound(next) : start + length;
      const used: { row: number; scale: number }[] = [];
      for (let j = start; j < stop; j++) {
        const row = placeOf(context, indices.data[j]!, rows);
        if (padding !== undefined && row === (padding + rows) % rows) continue;
        used.push({ row, scale: samples?.data[j] ?? 1 });
      }
      for (let f = 0; f < features && used.length > 0; f++) {
        const values = used.map(({ row, scale }) => weight.data[row * features + f]! * scale);
        const sum = values.reduce((a, v) => a + v, 0);
        data[b * features + f] = mode === 'max' ? Math.max(...values) : mode === 'mean' ? sum / used.length : sum;
      }
    }
    return [{ dtype: weight.dtype, dims: [bags, features], data }];
  },
  // Offsets count from the first index of all, so that bags of several queries do not concatenate.
  rows: (row) => (formOf(row.context).fixed !== undefined && !row.carriesRows(0) ? 'parallel' : 'mixing'),
  lower(lowering) {
    const { context } = lowering;
    const { mode, fixed, bags, features } = formOf(context);
    if (deviceType(context.input(0).dtype) !== 'f32')
      throw context.unsupported(`no kernel for ${context.input(0).dtype}`);
    const ids = lowering.view(1);
    const [offsets, samples, ends] = [lowering.optional(2), lowering.optional(3), lowering.optional(4)];
    const size = context.input(0).shape[0]!;
    const { code, rowRuns } = checkIndices(lowering, { indices: 1, table: 0, size });
    const total = product(ids.shape);
    const ragged = offsets && bounds(lowering, total, { offsets, ends });
    const declared = context.attributes.has('padding_idx') ? context.attributes.number('padding_idx', -1) : undefined;
    // Without one, a row that no index can be.
    const padding = declared === undefined ? -1 : declared < 0 ? add(size, declared) : declared;
    const output = lowering.output(0);
    const { initial, step, finish } = MODES[mode]!;
    const parts = lowering.parts(0);
    let previous: View | undefined;
    // A table of several buffers is gone through part by part, each adding to what the one before made.
    parts.forEach(({ view, first, count }, part) => {
      const last = part === parts.length - 1;
      const into = last ? output : lowering.scratch(`partial${part}`, output.dtype, output.shape);
      const before = previous;
      const { packed, fours } = tableUse(view);
      const names = Array.from({ length: FEATURES }, (_, q) => `min(c1 * ${FEATURES}u + ${q}u, p.features - 1u)`);
      const isFixed = fixed !== undefined && !samples && parts.length === 1;
      const whole = { table: view, ids, output, mode, size, padding, code, rowRuns };
      lowering.emit({
        ...(isFixed ? { cuda: (caps) => nativeKernel(whole, caps.maxWorkgroupsPerDimension) } : {}),
        ...indexedStep({
          name: 'EmbeddingBag',
          variant: [
            mode,
            fixed === undefined ? 'ragged' : 'fixed',
            samples && 'weighted',
            ends && 'ends',
            before && 'adds',
            !last && 'part',
          ]
            .filter(Boolean)
            .join('_'),
          reads: {
            table: view,
            ids,
            ...(offsets ? { offsets } : {}),
            ...(samples ? { samples } : {}),
            ...(ends ? { ends } : {}),
            ...(before ? { before } : {}),
          },
          writes: { out: into },
          packed: { table: packed },
          fours: fours && 'table',
          space: [bags, ceilDivide(features, FEATURES)],
          integers: {
            size,
            padding,
            code,
            row_runs: rowRuns,
            features,
            first,
            held: count,
            offset_count: offsets ? offsets.shape[0]! : 0,
            bag_length: fixed ?? 0,
            ...ragged?.integers,
          },
          helpers: INDEX_HELPERS,
          reportsErrors: true,
          operations: mul(FEATURES, 8),
          // Of the table what the ids ask for, whatever lies in a cache.
          bytes: add(
            mul(mul(total, features), deviceBytes(storedType(view))),
            trafficBytes([ids, into, ...(before ? [before] : []), ...(samples ? [samples] : [])]),
          ),
          detail: `${mode}${first === 0 ? '' : ` from row ${first}`}`,
          body({ at, place }) {
            const index = fixed === undefined ? ['j'] : ['c0', 'j - start'];
            const value = (name: string, leading: string): string =>
              `vec4<f32>(${names.map((f) => at(name, [leading, f])).join(', ')})`;
            const limits = ragged
              ? ragged.body(at, 'p.offset_count')
              : `
    let start = c0 * p.bag_length;
    let stop = start + p.bag_length;`;
            return `${limits}
    var acc = ${before ? value('before', 'c0') : `vec4<f32>(${initial})`};
    var used = 0u;
    for (var j = start; j < stop; j++) {
      let raw = ${wordsOf(ids)}(${at('ids', index)});
      let index = place(raw, p.size);
      if (index == OUTSIDE) {
        if (c1 == 0u && p.first == 0u) { report(j / p.row_runs, p.code, j % p.row_runs, raw); }
        continue;
      }
      if (index == p.padding) { continue; }
      used++;
      if (index - p.first >= p.held) { continue; }
      ${
        fours
          ? `let row_at = ${place('table', ['index - p.first', '0u'])};
      ${enterRow('table', fours, 'row_at')}`
          : ''
      }
      let row = ${fours ? readFour('table', fours, 'row_at', `c1 * ${FEATURES}u`) : value('table', 'index - p.first')}${samples ? ` * ${at('samples', index)}` : ''};
      acc = ${step};
    }
    let result = ${last ? finish : 'acc'};
${names.map((f, q) => `    if (c1 * ${FEATURES}u + ${q}u < p.features) { ${at('out', ['c0', f])} = result.${'xyzw'[q]}; }`).join('\n')}`;
          },
        }),
      });
      previous = into;
    });
  },
};

export const EMBEDDING_BAG_OPERATORS: readonly Operator[] = [EMBEDDING_BAG];
