import { indexed, type IndexedAccess } from '../../../shaders/indexed.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import type { PackedUse, ParameterValue, Step } from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { deviceType, elementsOf, nonEmpty, storedType, type View } from '../../compile/view.js';
import { divideExact, mul, product, type Dim } from '../../graph/dim.js';
import { flatWorkgroups, trafficBytes } from '../elementwise/kernel.js';

export interface IndexedCall {
  /** Names the kernel; with `variant`, its body. */
  readonly name: string;
  readonly variant?: string;
  readonly reads: Readonly<Record<string, View>>;
  readonly writes: Readonly<Record<string, View>>;
  /** Operands that are read which the body takes packed too. */
  readonly packed?: Readonly<Record<string, PackedUse>>;
  /** The operand that the body reads four elements at a time. */
  readonly fours?: string | undefined;
  /** What the invocations walk. Default: the shape of the first view written. */
  readonly space?: readonly Dim[];
  readonly integers?: Readonly<Record<string, Dim>>;
  readonly floats?: Readonly<Record<string, number>>;
  readonly lists?: Readonly<Record<string, readonly Dim[]>>;
  readonly helpers?: string;
  readonly reportsErrors?: boolean;
  /** Scalar operations an element. */
  readonly operations?: Dim;
  /** Memory traffic. Default: every operand once. */
  readonly bytes?: Dim;
  readonly detail?: string;
  body(access: IndexedAccess): string;
}

/** The step of a kernel that computes elements from their coordinates; see shaders/indexed.ts. */
export function indexedStep(call: IndexedCall): Omit<Step, 'node'> {
  const [reads, writes] = [Object.entries(call.reads), Object.entries(call.writes)];
  const space = call.space ?? writes[0]![1].shape;
  const count = product(space);
  const { integers = {}, floats = {}, lists = {} } = call;
  const all = [...reads, ...writes];
  return {
    kernel: call.name,
    operands: [
      ...reads.map(([name, view]) => {
        const packed = call.packed?.[name];
        return { view, access: 'read' as const, ...(packed ? { packed } : {}) };
      }),
      ...writes.map(([, view]) => ({ view, access: 'write' as const })),
    ],
    cost: {
      operations: mul(count, call.operations ?? 1),
      bytes: call.bytes ?? trafficBytes(all.map(([, view]) => view)),
    },
    bound: 'memory',
    detail: call.detail ?? '',
    webgpu(caps) {
      const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
      const operand = ([name, view]: readonly [string, View]) => ({
        name,
        type: storedType(view),
        rank: view.shape.length,
        fours: name === call.fours,
      });
      const program = indexed({
        name: call.variant ? `${call.name}_${call.variant}` : call.name,
        reads: reads.map(operand),
        writes: writes.map(operand),
        rank: space.length,
        fields: [
          ...Object.keys(integers).map((name) => ({ name, type: 'u32' as const, length: 1 })),
          ...Object.keys(floats).map((name) => ({ name, type: 'f32' as const, length: 1 })),
          ...Object.entries(lists).map(([name, l]) => ({ name, type: 'u32' as const, length: Math.max(2, l.length) })),
        ],
        helpers: call.helpers ?? '',
        reportsErrors: call.reportsErrors ?? false,
        workgroupSize,
        body: call.body,
      });
      const parameters: Record<string, ParameterValue> = { count, shape: nonEmpty(space, 1), ...integers };
      for (const [name, f32] of Object.entries(floats)) parameters[name] = { f32 };
      for (const [name, list] of Object.entries(lists)) parameters[name] = nonEmpty(list, 0);
      for (const [name, view] of all) {
        parameters[`${name}_start`] = { start: view };
        parameters[`${name}_strides`] = nonEmpty(view.strides, 0);
      }
      return {
        program,
        dispatch: { parameters, workgroups: flatWorkgroups(count, workgroupSize, caps.maxWorkgroupsPerDimension) },
      };
    },
  };
}

/**
 * Registers the check of an operator whose kernel reads each of its indices once: element by element, rows in front.
 * @returns the code of its records, and the indices that a row of the batch has.
 */
export function checkIndices(
  lowering: Lowering,
  { indices, ...lookup }: { indices: number; table: number; size: Dim; fromZero?: boolean },
): { code: number; rowRuns: Dim } {
  const count = elementsOf(lowering.view(indices));
  const rowRuns = (lowering.rows && divideExact(count, lowering.rows)) ?? count;
  return { code: lowering.check({ indices, ...lookup, runsPerIndex: 1, count, rowRuns }), rowRuns };
}

/** WGSL type of the elements of a view's storage, and the helper that gives an index as two words. */
export function wordsOf(view: View): string {
  return deviceType(view.dtype) === 'i64' ? 'words_i64' : 'words_i32';
}

/** A WGSL expression for zero in a view's element type. */
export function zeroOf(view: View): string {
  const type = deviceType(view.dtype);
  return type === 'i64' ? 'vec2<u32>()' : `${type}()`;
}
