import type { LoadMonitor } from './monitor.js';
import type { Pool, PoolGroup } from './pool.js';
import type { Decision, NextWave, Policy, PolicyName, ScheduleOptions, Situation } from './policy.js';

/** Of the group that has waited longest, as far as the wave reaches. */
function oldest({ pool }: Situation, maxRows: number, maxQueries: number): Decision {
  const group = pool.oldestGroup();
  return group && [{ group, maxRows, maxQueries }];
}

/** One query at a time, each waiting for the one before: how TensorFlow Serving runs without batching. */
const query = (): Policy => ({
  name: 'query',
  next: (situation) => (situation.load.inFlight > 0 ? undefined : oldest(situation, Number.POSITIVE_INFINITY, 1)),
});

/** A lane a query, as many at once as there are lanes. */
const multistream = (): Policy => ({
  name: 'multistream',
  next: (situation) => oldest(situation, Number.POSITIVE_INFINITY, 1),
});

/** Batches that double-buffer: one on the device, one behind it. */
const BATCHES_IN_FLIGHT = 2;

/** A dynamic batcher: a batch goes when it is full or when its first query has waited long enough. */
const batch = ({ maxBatchRows = Number.POSITIVE_INFINITY, queueDelayMs = 1 }: ScheduleOptions): Policy => ({
  name: 'batch',
  next(situation) {
    if (situation.load.inFlight >= BATCHES_IN_FLIGHT) return undefined;
    let wakeAt = Number.POSITIVE_INFINITY;
    let ready: PoolGroup | undefined;
    for (const group of situation.pool.groups()) {
      const due = group.oldest.arrivedAt + queueDelayMs;
      const full = group.rows >= Math.min(maxBatchRows, group.oldest.rowsPerWave);
      if (!full && due > situation.now) wakeAt = Math.min(wakeAt, due);
      else if (!ready || group.oldest.arrivedAt < ready.oldest.arrivedAt) ready = group;
    }
    if (ready) return [{ group: ready, maxRows: maxBatchRows, maxQueries: Number.POSITIVE_INFINITY }];
    return Number.isFinite(wakeAt) ? { waitUntil: wakeAt } : undefined;
  },
});

/** A submission on the device and one staged behind it. */
const WAVES_BEFORE_DEVICE = 2;

/**
 * Whether to run `rows` rows that wait or run as two waves instead of one. A single wave leaves the device idle while the
 * host stages, and the host idle while the device runs: a cycle takes host + device. Of two waves the host stages one
 * while the device runs the other, so that a cycle takes twice the longer of the two; but each pays its fixed costs.
 * More than two waves pay more of those and overlap no better.
 */
export function cutPays(rows: number, deviceUs: (rows: number) => number, hostUs: (rows: number) => number): boolean {
  return 2 * Math.max(deviceUs(rows / 2), hostUs(rows / 2)) < deviceUs(rows) + hostUs(rows);
}

/**
 * RecOS for a device with one queue: a submission whenever the device has room for one, of everything that waits, cut where
 * the cost model says that overlap pays. Deadlines in danger go first, then who came first. No more submissions are put
 * before the device than keep it busy: a query that waits in the pool joins others, one that waits on the device does not.
 */
const recos = ({ maxBatchRows = Number.POSITIVE_INFINITY, queueDelayMs = 0 }: ScheduleOptions): Policy => ({
  name: 'recos',
  next(situation) {
    const { now, load, pool, software, joinsPlans } = situation;
    if (load.inFlight >= WAVES_BEFORE_DEVICE) return undefined;
    const urgent = inDanger(situation);
    const first = urgent ?? pool.oldestGroup();
    if (!first) return undefined;
    if (queueDelayMs > 0 && load.inFlight === 0) {
      const due = first.oldest.arrivedAt + queueDelayMs;
      if (due > now && first.rows < first.oldest.rowsPerWave) return { waitUntil: due };
    }
    const whole = (group: PoolGroup): NextWave => ({
      group,
      maxRows: Math.min(maxBatchRows, group.oldest.rowsPerWave),
      maxQueries: Number.POSITIVE_INFINITY,
    });
    const alone = first.queries === pool.queries;
    if (alone && !software) return [cutWave(whole(first), load)];
    // Waves of one submission end together: whoever is in a hurry goes alone.
    return alone || urgent || !joinsPlans ? [whole(first)] : halfOf(pool, load, first).map(whole);
  },
});

/** All that waits where a model's queries alone wait, or half of what waits or runs where that pays. */
function cutWave(wave: NextWave, load: LoadMonitor): NextWave {
  const { group, maxRows } = wave;
  if (group.queries === 1 || !Number.isFinite(maxRows)) return wave;
  const { cost } = group.target;
  const { bindings } = group.oldest;
  const rows = group.rows + load.rowsInFlight(group.target);
  const cut = cutPays(
    rows,
    (r) => cost.deviceUs(bindings, r),
    (r) => cost.hostUs(r),
  );
  return cut ? { ...wave, maxRows: Math.min(maxRows, Math.ceil(rows / 2)) } : wave;
}

/**
 * Of the groups that wait, `first` and those that came next, each whole, up to about half of the device's time for all that
 * waits or runs: the other half is the overlap.
 */
function halfOf(pool: Pool, load: LoadMonitor, first: PoolGroup): PoolGroup[] {
  const us = (group: PoolGroup): number => group.target.cost.deviceUs(group.oldest.bindings, group.rows);
  const others = [...pool.groups()].filter((g) => g !== first);
  others.sort((a, b) => a.oldest.arrivedAt - b.oldest.arrivedAt);
  const half = (load.expectedUs + others.reduce((sum, g) => sum + us(g), us(first))) / 2;
  const taken = [first];
  let sum = us(first);
  for (const group of others) {
    const own = us(group);
    // One command buffer has a plan's parameters once.
    if (sum + own / 2 > half || taken.some((g) => g.target === group.target)) continue;
    taken.push(group);
    sum += own;
  }
  return taken;
}

/** The group with a deadline that would pass if it waited for another wave. */
function inDanger({ now, load, pool }: Situation): PoolGroup | undefined {
  let urgent: PoolGroup | undefined;
  let earliest = Number.POSITIVE_INFINITY;
  for (const group of pool.groups()) {
    const { deadlineAt } = group;
    if (!Number.isFinite(deadlineAt) || deadlineAt >= earliest) continue;
    const waveMs = group.target.cost.deviceUs(group.oldest.bindings, group.rows) / 1000;
    if (deadlineAt - now - load.outstandingUs(now) / 1000 > 3 * waveMs) continue;
    [urgent, earliest] = [group, deadlineAt];
  }
  return urgent;
}

const POLICIES: Record<PolicyName, (options: ScheduleOptions) => Policy> = { recos, query, multistream, batch };

export function makePolicy(options: ScheduleOptions): Policy {
  return POLICIES[options.policy ?? 'recos'](options);
}
