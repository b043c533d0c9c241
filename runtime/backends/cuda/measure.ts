import type { Bindings } from '../../graph/dim.js';
import type { CudaContext } from './context.js';
import type { Launches } from './launches.js';
import { MEASURED_ROWS, type ProductChoices } from './products.js';

/** Times each is run in turn, and before that: the first call of a library loads its kernels, and a GPU's clock is low when idle. */
const [ROUNDS, BEFORE] = [7, 3];

/** A wave of some rows, to be measured with. */
export interface MeasuredWave {
  readonly bindings: Bindings;
  /** Of its region. */
  readonly bytes: number;
  /** Arguments of its launches, its region being at that address. */
  argumentsAt(address: number): Uint32Array;
}

/**
 * Times the products of a plan that a library takes, by it and by their kernels, on whatever lies in a wave's memory, and keeps
 * what it finds in `choices`. Takes as long as some hundred products.
 * @param waveOf a wave of so many rows; undefined where waves do not carry as many.
 */
export async function measureProducts(
  context: CudaContext,
  launches: Launches,
  choices: ProductChoices,
  waveOf: (rows: number) => MeasuredWave | undefined,
): Promise<void> {
  if (launches.products.length === 0) return;
  const lane = await context.acquireLane();
  try {
    for (const rows of MEASURED_ROWS) {
      const wave = waveOf(rows);
      if (!wave) continue;
      const { commands } = lane;
      const lease = await context.lease(wave.bytes, lane);
      let point = 0;
      try {
        const address = context.addressOf(lease);
        const by = ['kernel', 'library'] as const;
        commands.clear();
        for (const fence of lease.waits) commands.wait(fence.lane, fence.point);
        let moment = 0;
        for (const g of launches.products) {
          for (let i = 0; i < BEFORE; i++)
            for (const way of by) launches.encodeProduct(commands, g, wave.bindings, way);
          commands.clock(moment++);
          for (let i = 0; i < ROUNDS; i++) {
            for (const way of by) {
              launches.encodeProduct(commands, g, wave.bindings, way);
              commands.clock(moment++);
            }
          }
        }
        const submission = lane.submit(wave.argumentsAt(address), []);
        point = submission.point;
        await submission.ended;
        const times = context.device.clock(lane.index, moment - 1);
        const moments = 2 * ROUNDS + 1;
        launches.products.forEach((g, p) => {
          const least = (way: 0 | 1): number =>
            Math.min(...Array.from({ length: ROUNDS }, (_, i) => times[p * moments + 2 * i + way]!));
          choices.add(g, { m: launches.rowsOfProduct(g, wave.bindings), own: least(0), library: least(1) });
        });
      } finally {
        context.release(lease, lane, point);
      }
    }
  } finally {
    context.releaseLane(lane);
    launches.forget();
  }
}
