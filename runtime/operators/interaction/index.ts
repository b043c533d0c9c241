import { interaction, MOST_INTERACTION_WORKGROUPS } from '../../../shaders/interaction.js';
import { nativeInteraction, VECTOR_FIELDS } from '../../../shaders/interaction_native.js';
import { MULTIPROCESSORS, type WebGpuProgram } from '../../../shaders/program.js';
import {
  ROUNDED,
  unitsOf,
  usesMatrixUnits,
  type ParameterValue,
  type RowLookup,
  type StepKernel,
} from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { deviceType, isAligned, type View } from '../../compile/view.js';
import { divideExact, equal, evaluate, mul, sub, type Dim } from '../../graph/dim.js';
import { trafficBytes } from '../elementwise/kernel.js';
import { fusedOperator } from '../fused.js';

/** The number of the vector that each lookup makes; undefined where one makes anything else. */
function vectorsOf(x: View, lookups: readonly RowLookup[]): readonly number[] | undefined {
  const [rows, vectors, width] = x.shape as [Dim, number, number];
  const [row, vector] = x.strides as [Dim, Dim];
  const places = lookups.map(({ output, ids, table }) => {
    const offset = sub(output.offset, x.offset);
    const place = divideExact(offset, vector);
    const isVector =
      output.shape.slice(1, -1).every((d) => d === 1) &&
      equal(output.shape[0]!, rows) &&
      equal(output.strides[0]!, row) &&
      table.shape[1] === width &&
      ids.shape.slice(1).every((d) => d === 1);
    return isVector && typeof place === 'number' && place >= 0 && place < vectors ? place : undefined;
  });
  const known = places.filter((p) => p !== undefined);
  return known.length === lookups.length && new Set(known).size === known.length ? known : undefined;
}

function lower(lowering: Lowering): void {
  const { attributes } = lowering.context;
  const [x, places, output] = [lowering.view(0), lowering.view(1), lowering.output(0)];
  const [rows, vectors, width] = x.shape as [Dim, number, number];
  const [from, to] = [attributes.numbers('from') ?? [], attributes.numbers('to') ?? []];
  const aligned = divideExact(width, 4) !== undefined && equal(x.strides[2]!, 1) && isAligned(x, [0, 1]);
  const options = { vectors, width, copies: from.length, columns: output.shape[1] as number, aligned };
  const operations = mul(rows, vectors * vectors * width);
  const kernelOf = (
    program: WebGpuProgram,
    most: number,
    parameters: Readonly<Record<string, ParameterValue>>,
  ): StepKernel => ({
    program,
    dispatch: {
      parameters: {
        m: rows,
        x_start: { start: x },
        x_row: x.strides[0]!,
        x_vector: x.strides[1]!,
        places_start: { start: places },
        out_start: { start: output },
        out_row: output.strides[0]!,
        out_column: output.strides[1]!,
        ...parameters,
      },
      workgroups: (bindings) => Math.min(most, evaluate(rows, bindings)),
    },
  });
  const copied = { copy_from: from.length > 0 ? from : 0, copy_to: to.length > 0 ? to : 0 };
  lowering.emit({
    kernel: 'Interaction',
    operands: [
      // These are products too: their factors may be rounded as those of others are.
      { view: x, access: 'read', ...(aligned ? { packed: ROUNDED } : {}) },
      { view: places, access: 'read' },
      { view: output, access: 'write', packed: ROUNDED },
    ],
    cost: { operations, bytes: trafficBytes([x, output]) },
    bound: 'memory',
    detail: `vectors=${vectors} width=${width}`,
    webgpu() {
      const copies = from.flatMap((j, i) => [
        [`copy${i}_from`, j],
        [`copy${i}_to`, to[i]!],
      ]);
      return kernelOf(
        interaction({ ...options, inHalves: x.storage.type === 'f16', outHalves: output.storage.type === 'f16' }),
        MOST_INTERACTION_WORKGROUPS,
        {
          x_feature: x.strides[2]!,
          ...Object.fromEntries(copies),
        },
      );
    },
    cuda(target) {
      if (!usesMatrixUnits(target)) return undefined;
      const program = nativeInteraction(options, undefined, unitsOf(target));
      return program && kernelOf(program, MULTIPROCESSORS, copied);
    },
    absorb(lookups, target) {
      const made = usesMatrixUnits(target) ? vectorsOf(x, lookups) : undefined;
      const types = new Set(lookups.map(({ ids }) => deviceType(ids.dtype)));
      const [ids] = types;
      if (!made || types.size > 1 || (ids !== 'i32' && ids !== 'i64')) return undefined;
      const program = nativeInteraction(options, { count: lookups.length, ids }, unitsOf(target));
      if (!program) return undefined;
      const words = lookups.map(({ table, ids, size, rowRuns, code }, i) => ({
        source: 1 + i,
        table_start: { start: table },
        table_row: table.strides[0]!,
        ids_start: { start: ids },
        ids_row: ids.strides[0]!,
        size,
        row_runs: rowRuns,
        code,
      }));
      const lists = VECTOR_FIELDS.map((name) => {
        const list = Array.from({ length: Math.max(2, vectors) }, (_, v) => words[made.indexOf(v)]?.[name] ?? 0);
        return [name, list] as const;
      });
      const reads = [x, places, ...lookups.map((l) => l.ids), ...lookups.map((l) => l.table)];
      return {
        operands: [
          ...reads.map((view) => ({ view, access: 'read' as const })),
          { view: output, access: 'write' as const },
        ],
        cost: { operations, bytes: trafficBytes([x, output, ...lookups.map((l) => l.ids)]) },
        kernel: kernelOf(program, MULTIPROCESSORS, { ...copied, ...Object.fromEntries(lists) }),
      };
    },
  });
}

/**
 * Interaction(X, places): of the vectors X [batch, vectors, width], the products of pairs where `places` has them, by
 * tiles as shaders/interaction.ts deals them, and copies of vectors `from` at columns `to`; [batch, columns]. What
 * compile/interaction.ts makes; no model has it.
 */
export const INTERACTION = fusedOperator('Interaction', lower);
