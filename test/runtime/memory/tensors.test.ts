import { describe, expect, it } from 'vitest';
import { TensorManager, type Fence, type Lease } from '../../../runtime/memory/tensors.js';
import { Random } from '../../support/cases.js';
import { SimulatedDevice } from '../../support/simulated-device.js';

const BUDGET = 64 * 1024;

interface Task {
  readonly lane: number;
  readonly lease: Lease;
  readonly done: Fence;
  /** Tasks that have still to read it. */
  readers: number;
  /** Points of the lanes that read it. */
  readonly reads: Fence[];
}

/** A mistake in a manager that the simulation has to find. */
type Mutant = (lease: Lease, fences: readonly Fence[]) => readonly Fence[];

/**
 * Random graphs of tasks on several lanes, submitted faster than they run: each leases its result's memory, waits for what
 * it reads, and its inputs go back with the fences of their last readers.
 */
function simulate(
  seed: number,
  mutant: Mutant = (_, fences) => fences,
): { violations: string[]; manager: TensorManager } {
  const random = new Random(seed);
  const lanes = random.int(1, 4);
  const manager = new TensorManager(BUDGET);
  const device = new SimulatedDevice(lanes, BUDGET, random, (fence) => manager.passed(fence));
  const points = Array.from({ length: lanes }, () => 0);
  let open: Task[] = [];
  const release = (task: Task): void => {
    manager.release(task.lease, mutant(task.lease, [task.done, ...task.reads]));
    open = open.filter((t) => t !== task);
  };
  for (let tag = 0; tag < 120; tag++) {
    const lane = random.int(0, lanes - 1);
    const lease = manager.lease(random.int(0, BUDGET / 6), lane);
    if (!lease) {
      // Admission waits: the oldest result is given up, as if its query had been answered.
      if (open.length > 0) release(open[0]!);
      device.run(5);
      continue;
    }
    expect(manager.memory.leasedBytes).toBeLessThanOrEqual(BUDGET);
    for (const fence of lease.waits) device.push(lane, { kind: 'wait', fence });
    const inputs = random.shuffled(open).slice(0, random.int(0, 2));
    for (const input of inputs) {
      if (input.lane !== lane) device.push(lane, { kind: 'wait', fence: input.done });
      const { offset, bytes } = input.lease;
      device.push(lane, { kind: 'read', offset, bytes, tag: input.done.point * 8 + input.lane });
    }
    const done = { lane, point: ++points[lane]! };
    device.push(lane, { kind: 'write', offset: lease.offset, bytes: lease.bytes, tag: done.point * 8 + lane });
    device.push(lane, { kind: 'signal', point: done.point });
    open.push({ lane, lease, done, readers: random.int(1, 3), reads: [] });
    for (const input of inputs) {
      input.reads.push(done);
      if (--input.readers === 0) release(input);
    }
    if (random.next() < 0.3) device.run(random.int(0, 12));
  }
  open.forEach(release);
  device.run(Number.POSITIVE_INFINITY);
  return { violations: device.violations, manager };
}

describe('the tensor manager', () => {
  it('lets no lane read what another has overwritten, on random graphs and delays', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const { violations, manager } = simulate(seed);
      expect([seed, violations]).toEqual([seed, []]);
      // Everything went back, in one piece, with nothing pending.
      expect(manager.leases).toBe(0);
      expect(manager.memory).toMatchObject({ leasedBytes: 0, pendingBytes: 0, fragmentation: 0 });
      expect(manager.memory.peakBytes).toBeLessThanOrEqual(BUDGET);
    }
  });

  it.each<[string, Mutant]>([
    ['one point early', (_, fences) => fences.map((f) => ({ ...f, point: f.point - 1 }))],
    ['without the last reader', (_, fences) => fences.slice(0, -1)],
    ['with no fence', () => []],
  ])('would be found to free a region %s', (_, mutant) => {
    const found = Array.from({ length: 400 }, (_, seed) => simulate(seed + 1, mutant).violations.length);
    expect(found.reduce((a, b) => a + b, 0)).toBeGreaterThan(0);
  });

  it('waits for nothing on the lane that had the region, and for its fence on others', () => {
    const manager = new TensorManager(1024);
    const first = manager.lease(1024, 0)!;
    manager.release(first, [{ lane: 0, point: 3 }]);
    const again = manager.lease(1024, 0)!;
    expect(again.waits).toEqual([]);
    manager.release(again, [{ lane: 0, point: 4 }]);
    const other = manager.lease(1024, 1)!;
    expect(other.waits).toEqual([{ lane: 0, point: 4 }]);
    manager.release(other, [{ lane: 1, point: 1 }]);
    manager.passed({ lane: 1, point: 1 });
    manager.passed({ lane: 0, point: 4 });
    expect(manager.lease(1024, 2)!.waits).toEqual([]);
  });

  it('prefers a region that needs no wait to a better fit', () => {
    const manager = new TensorManager(4096);
    const [a, , c] = [manager.lease(512, 0)!, manager.lease(512, 0)!, manager.lease(1024, 0)!, manager.lease(2048, 0)!];
    manager.release(a, [{ lane: 0, point: 1 }]);
    manager.release(c, []);
    expect(manager.lease(512, 1)).toMatchObject({ offset: c.offset, waits: [] });
  });

  it('never passes its budget, and says what could fit and how scattered the rest is', () => {
    const manager = new TensorManager(4096 + 17);
    expect([manager.hasRoom(4096), manager.hasRoom(4097)]).toEqual([true, false]);
    const leases = [1, 2, 3, 4].map(() => manager.lease(1000, 0)!);
    expect(manager.lease(1, 0)).toBeUndefined();
    manager.release(leases[0]!, []);
    manager.release(leases[2]!, []);
    expect(manager.memory.fragmentation).toBe(0.5);
    expect(manager.lease(1500, 0)).toBeUndefined();
    manager.release(leases[1]!, []);
    expect(manager.memory.fragmentation).toBe(0);
    expect(manager.lease(3000, 0)).toMatchObject({ offset: 0, bytes: 3072 });
    expect(() => manager.release(leases[0]!, [])).toThrow('released twice');
  });
});
