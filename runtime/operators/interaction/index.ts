import { interaction, MOST_INTERACTION_WORKGROUPS } from '../../../shaders/interaction.js';
import { ROUNDED } from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import { isAligned } from '../../compile/view.js';
import { divideExact, equal, evaluate, mul, type Dim } from '../../graph/dim.js';
import { trafficBytes } from '../elementwise/kernel.js';
import { fusedOperator } from '../fused.js';

function lower(lowering: Lowering): void {
  const { attributes } = lowering.context;
  const [x, places, output] = [lowering.view(0), lowering.view(1), lowering.output(0)];
  const [rows, vectors, width] = x.shape as [Dim, number, number];
  const [from, to] = [attributes.numbers('from') ?? [], attributes.numbers('to') ?? []];
  const aligned = divideExact(width, 4) !== undefined && equal(x.strides[2]!, 1) && isAligned(x, [0, 1]);
  lowering.emit({
    kernel: 'Interaction',
    operands: [
      // These are products too: their factors may be rounded as those of others are.
      { view: x, access: 'read', ...(aligned ? { packed: ROUNDED } : {}) },
      { view: places, access: 'read' },
      { view: output, access: 'write', packed: ROUNDED },
    ],
    cost: { operations: mul(rows, vectors * vectors * width), bytes: trafficBytes([x, output]) },
    bound: 'memory',
    detail: `vectors=${vectors} width=${width}`,
    webgpu() {
      return {
        program: interaction({
          vectors,
          width,
          copies: from.length,
          columns: output.shape[1] as number,
          aligned,
          inHalves: x.storage.type === 'f16',
          outHalves: output.storage.type === 'f16',
        }),
        dispatch: {
          parameters: {
            m: rows,
            x_start: { start: x },
            x_row: x.strides[0]!,
            x_vector: x.strides[1]!,
            x_feature: x.strides[2]!,
            places_start: { start: places },
            out_start: { start: output },
            out_row: output.strides[0]!,
            out_column: output.strides[1]!,
            ...Object.fromEntries(
              from.flatMap((j, i) => [
                [`copy${i}_from`, j],
                [`copy${i}_to`, to[i]!],
              ]),
            ),
          },
          workgroups: (bindings) => Math.min(MOST_INTERACTION_WORKGROUPS, evaluate(rows, bindings)),
        },
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
