import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, GraphEngine, tensorOf, type Graph, type Tensor } from '../../../runtime/index.js';
import {
  joinedWidth,
  joins,
  joinSets,
  type Candidate,
  type SideBySide,
} from '../../../runtime/backends/webgpu/joins.js';
import { sideBySide, type Part } from '../../../shaders/side_by_side.js';
import { buildZoo, zooInputs, zooNames } from '../../../src/zoo/index.js';
import { Random } from '../../support/cases.js';
import { openBackend, testsCuda } from '../../support/device.js';
import { RANDOM_INPUTS, randomGraph } from '../../support/graphs.js';

/** A kernel of one operand read and one written, in the form that kernels have. */
function kernel(name: string, options: { size?: number; type?: string; body?: string } = {}): Part['program'] {
  const { size = 64, type = 'f32', body = `out[id.x] = ${name}_of(source[id.x]);` } = options;
  const source = `struct Params {
  @align(16) count: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> blocks: array<Params, 4>;
@group(0) @binding(1) var<storage, read> source: array<${type}>;
@group(0) @binding(2) var<storage, read_write> out: array<${type}>;
const count = 3u; // called as a member of Params is
fn ${name}_of(x: ${type}) -> ${type} { return x; }
@compute @workgroup_size(${size})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  if (id.x >= min(count, blocks[id.z].count)) { return; }
  ${body}
}`;
  return { key: name, source, fields: [], reportsErrors: false };
}

const part = (program: Part['program'], buffers: readonly number[], slices = 1): Part => ({ program, buffers, slices });

describe('a joined program', () => {
  it('keeps the names of its parts apart, and members of structs as they are', () => {
    const { source } = sideBySide([part(kernel('a'), [0, 1]), part(kernel('b'), [0, 2], 2)])!;
    expect(source).toContain('part0_blocks[id.z].count');
    expect(source).toContain('min(part1_count, part1_blocks[id.z].count)');
    expect(source).toContain('part1_b_of(part1_source[id.x])');
    expect(source.match(/fn main\(/g)).toHaveLength(1);
    expect(source).toMatch(/group\.z >= 1u && group\.z < 3u/);
  });

  it('binds what is only read by each part, and what is written once', () => {
    const joined = sideBySide([part(kernel('a'), [0, 1]), part(kernel('b'), [1, 1]), part(kernel('c'), [0, 2])])!;
    expect(joined.storage).toEqual([
      { buffer: 0, access: 'read' },
      { buffer: 1, access: 'read_write' },
      { buffer: 0, access: 'read' },
      { buffer: 2, access: 'read_write' },
    ]);
  });

  it('counts the workgroups of a slice on through the slices that it is spread over', () => {
    const a = part(kernel('a'), [0, 1]);
    const { source, key } = sideBySide([a, { ...part(kernel('b'), [0, 2], 2), shares: 4 }])!;
    expect(source).toMatch(/group\.z >= 1u && group\.z < 9u/);
    expect(source).toContain('let z = (group.z - 1u) / 4u;');
    expect(source).toContain('let x = group.x + (group.z - 1u) % 4u * groups.x;');
    expect(source).toContain('vec3<u32>(groups.x * 4u, groups.yz)');
    expect(key).not.toBe(sideBySide([a, part(kernel('b'), [0, 2], 2)])!.key);
  });

  it('is not made of workgroups of two sizes, nor of two views on a buffer that is written', () => {
    expect(sideBySide([part(kernel('a'), [0, 1]), part(kernel('b', { size: 128 }), [0, 2])])).toBeUndefined();
    expect(sideBySide([part(kernel('a'), [0, 1]), part(kernel('b', { type: 'u32' }), [0, 1])])).toBeUndefined();
    expect(sideBySide([part(kernel('a'), [0, 1]), part(kernel('b', { type: 'u32' }), [0, 2])])).toBeDefined();
  });

  it('is not made of kernels that ask for more than others have', () => {
    const b = kernel('b');
    const asks = { ...b, source: b.source.replace('num_workgroups', 'subgroup_invocation_id') };
    expect(sideBySide([part(kernel('a'), [0, 1]), part(asks, [0, 2])])).toBeUndefined();
  });
});

describe('what shares a dispatch', () => {
  const candidate = (group: number, x: number, options: Partial<Candidate> & { size?: number } = {}): Candidate => ({
    group,
    choice: -1,
    x,
    width: x,
    bound: 'memory',
    part: part(kernel('k', options.size === undefined ? {} : { size: options.size }), [0, group + 1]),
    ...options,
  });
  const groupsOf = (sets: readonly (readonly Candidate[])[]): number[][] => sets.map((s) => s.map((c) => c.group));

  it('are kernels bound by memory, of one size of workgroups', () => {
    const all = [
      candidate(0, 10),
      candidate(1, 10, { bound: 'arithmetic' }),
      candidate(2, 5, { bound: 'latency' }),
      candidate(3, 5, { size: 128 }),
      candidate(4, 0),
    ];
    expect(groupsOf(joinSets(all, 'memory'))).toEqual([[0, 2]]);
    expect(groupsOf(joinSets(all, 'all'))).toEqual([[0, 1, 2]]);
    expect(joinSets(all, 'none')).toEqual([]);
  });

  it('have about as many workgroups', () => {
    const sets = joinSets([candidate(0, 3), candidate(1, 40_000), candidate(2, 39_000), candidate(3, 1)], 'memory');
    expect(groupsOf(sets)).toEqual([
      [1, 2],
      [0, 3],
    ]);
  });

  it('fit the bindings of a pipeline', () => {
    const set = Array.from({ length: 6 }, (_, i) => candidate(i, 1));
    expect(
      joinSets(
        Array.from({ length: 9 }, (_, i) => candidate(i, 1)),
        'memory',
      )[0],
    ).toHaveLength(8);
    expect(joins(set, 8).map(({ groups }) => groups)).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ]);
    expect(joins(set, 3)).toEqual([]);
  });

  it('are as many sets as views on what is written', () => {
    const of = (group: number, type: string): Candidate =>
      candidate(group, 4, { part: part(kernel('k', { type }), [0, 1]) });
    const set = [of(0, 'f32'), of(1, 'u32'), of(2, 'f32'), of(3, 'u32'), of(4, 'i32')];
    expect(joins(set, 8).map(({ groups }) => groups)).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });

  it('are wide and narrow, where slices of the wide one start few workgroups that have nothing to do', () => {
    const narrow = candidate(0, 4, { part: part(kernel('a'), [0, 1], 26) });
    const wide = candidate(1, 195, { part: part(kernel('b'), [0, 2]) });
    const [set] = joinSets([narrow, wide], 'memory');
    expect(set!.map(({ group, part: { shares } }) => [group, shares])).toEqual([
      [1, 32],
      [0, 1],
    ]);
    expect(joinedWidth(set!)).toBe(7);
    // As wide as at many rows, whatever it is at few.
    const few = joinSets(
      [
        { ...narrow, x: 1 },
        { ...wide, x: 1 },
      ],
      'memory',
    )[0]!;
    expect(few.map(({ part: { shares } }) => shares)).toEqual([1, 32]);
    expect(joinedWidth(few)).toBe(1);
  });
});

describe.skipIf(testsCuda)('waves with operators side by side', () => {
  const engines = new Map<SideBySide, GraphEngine>();
  beforeAll(async () => {
    for (const which of ['none', 'all', 'memory'] as const)
      engines.set(which, new GraphEngine(await openBackend({ arenaBytes: 2 ** 24, sideBySide: which })));
  });
  afterAll(() => Promise.all([...engines.values()].map((engine) => engine.close())));

  /** The results of an engine, and how many dispatches its wave had. */
  async function runOn(
    which: SideBySide,
    graph: Graph,
    inputs: Readonly<Record<string, Tensor>>,
  ): Promise<{ outputs: Readonly<Record<string, Tensor>>; dispatches: number }> {
    const engine = engines.get(which)!;
    const model = await engine.load(graph);
    const before = engine.loadReport().dispatches;
    const outputs = await model.run(inputs);
    const dispatches = engine.loadReport().dispatches - before;
    await model.dispose();
    return { outputs, dispatches };
  }

  it('give what they give one by one, on random graphs', async () => {
    let saved = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 2 ** 30 }), fc.constantFrom(1, 5, 70), async (seed, rows) => {
        const random = new Random(seed);
        const graph = randomGraph(random, 10);
        const inputs = Object.fromEntries(
          Object.entries(RANDOM_INPUTS).map(([name, dims]) => [name, random.floats([rows, ...dims], -1, 1)]),
        );
        const alone = await runOn('none', graph, inputs);
        for (const which of ['all', 'memory'] as const) {
          const joined = await runOn(which, graph, inputs);
          expect(joined.outputs).toEqual(alone.outputs);
          expect(joined.dispatches).toBeLessThanOrEqual(alone.dispatches);
          saved += alone.dispatches - joined.dispatches;
        }
      }),
      { numRuns: 3 },
    );
    expect(saved).toBeGreaterThan(0);
  });

  it.each(zooNames)('give what they give one by one: %s', async (name) => {
    const inputs = zooInputs(name, 'tiny', 5, 1);
    const alone = await runOn('none', buildZoo(name, 'tiny'), inputs);
    const joined = await runOn('memory', buildZoo(name, 'tiny'), inputs);
    expect(joined.outputs).toEqual(alone.outputs);
    if (name === 'wnd') expect(joined.dispatches).toBeLessThan(alone.dispatches);
  });

  it('report an index out of range of the part that found it', async () => {
    const b = new GraphBuilder('lookups');
    const table = b.constant('table', tensorOf('float32', [3, 2], [1, 2, 3, 4, 5, 6]));
    const ids = b.input('ids', 'int64', ['n']);
    const x = b.input('x', 'float32', ['n', 2]);
    b.op('Gather', [table, ids], {}, { outputs: ['found'] });
    b.op('ReduceMax', [x], { axes: [1] }, { outputs: ['most'] });
    for (const name of ['found', 'most']) b.output(name, 'float32');
    for (const engine of engines.values()) {
      const model = await engine.load(b.build());
      const run = (id: number) =>
        model.run({ ids: tensorOf('int64', [2], [0, id]), x: tensorOf('float32', [2, 2], [1, 2, 3, 4]) });
      await expect(run(3)).rejects.toThrow(
        "input 'ids': row 1, position 0: found id 3, expected -3 to 2 for table 'table'",
      );
      const { found, most } = await run(2);
      expect([...found!.data, ...most!.data]).toEqual([1, 2, 5, 6, 2, 4]);
    }
  });
});
