import { describe, expect, it } from 'vitest';
import { compile, GraphBuilder, type Plan } from '../../../../runtime/index.js';
import { AdoptedMemory } from '../../../../runtime/backends/cuda/adopted.js';
import type { NativeDevice } from '../../../../runtime/backends/cuda/addon.js';
import { CommandList, OPERATIONS } from '../../../../runtime/backends/cuda/commands.js';
import { WaveInputs } from '../../../../runtime/backends/cuda/inputs.js';
import type { Wave } from '../../../../runtime/backends/backend.js';

/** y = x + widened small, rows of 4. */
function plan(): Plan {
  const b = new GraphBuilder('sum');
  const x = b.input('x', 'float32', ['rows', 4]);
  const small = b.input('small', 'uint8', ['rows', 4]);
  b.output(b.op('Add', [x, b.op('Cast', [small], { to: 1 })], {}, { outputs: ['y'] }), 'float32');
  return compile(b.build(), { maxBindingBytes: 2 ** 30 });
}

function waveOf(...rows: number[]): Wave {
  return {
    bindings: new Map([['rows', rows.reduce((a, b) => a + b, 0)]]),
    queries: rows.map((n) => ({
      rows: n,
      firstRow: 0,
      inputs: [Float32Array.from({ length: 4 * n }, (_, i) => i), Uint8Array.from({ length: 4 * n }, (_, i) => i)],
    })),
  };
}

/** Memory whose pages begin at the next multiple of 4,096 behind 10 bytes, and at an address that says nothing of that. */
const device: Pick<NativeDevice, 'adopt' | 'disown'> = {
  adopt: ({ byteLength }) => ({ address: 2 ** 40, offset: 4086, bytes: 4096 * Math.floor((byteLength - 4086) / 4096) }),
  disown: () => {},
};
const none = new AdoptedMemory(device as NativeDevice);

describe('WaveInputs', () => {
  const inputs = new WaveInputs(plan());

  it('tells which query lacks elements, and puts zeros in their place', () => {
    const wave = waveOf(2, 0, 3);
    expect(inputs.gone(wave).size).toBe(0);
    expect(inputs.without(wave, new Map())).toBe(wave);
    const { buffer } = wave.queries[2]!.inputs[0]!;
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    const gone = inputs.gone(wave);
    expect([...gone.keys()]).toEqual([2]);
    expect(gone.get(2)).toMatchObject({ code: 'INPUT_SIZE', message: expect.stringContaining("input 'x'") });
    const rest = inputs.without(wave, gone);
    expect(rest.queries[0]).toBe(wave.queries[0]);
    expect(rest.queries[2]!.inputs).toEqual([new Float32Array(12), new Uint8Array(12)]);
    expect(inputs.gone(rest).size).toBe(0);
  });

  it('copies what lies on the device as on the host, and widens the rest at once', () => {
    const wave = waveOf(2, 1);
    const commands = new CommandList();
    const staging = { buffer: new ArrayBuffer(4096), address: 10_000 };
    const sources = inputs.encode(
      wave,
      { staging, adopted: none, offset: 256, device: 50_000, starts: [0, 512], end: 560 },
      commands,
    );
    expect([...commands.numbers.subarray(0, commands.count)]).toEqual(
      [
        [OPERATIONS.copy, 10_256, 0, 32],
        [OPERATIONS.copy, 10_288, 1, 16],
        [OPERATIONS.upload, 50_000, 10_256, 560],
      ].flat(),
    );
    expect(sources.arrays).toEqual([wave.queries[0]!.inputs[0], wave.queries[1]!.inputs[0]]);
    expect([...new Uint32Array(staging.buffer, 768, 12)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]);
    const [query, error] = inputs.unreadable(sources, wave, 1);
    expect([query, error.code]).toEqual([1, 'INPUT_SIZE']);
  });

  it('sends a large input on its way before the next is staged', () => {
    const rows = 2 ** 16;
    const commands = new CommandList();
    const staging = { buffer: new ArrayBuffer(256 + 32 * rows), address: 10_000 };
    inputs.encode(
      waveOf(rows),
      { staging, adopted: none, offset: 256, device: 2 ** 30, starts: [0, 16 * rows], end: 32 * rows },
      commands,
    );
    expect([...commands.numbers.subarray(4, commands.count)]).toEqual(
      [
        [OPERATIONS.upload, 2 ** 30, 10_256, 16 * rows],
        [OPERATIONS.upload, 2 ** 30 + 16 * rows, 10_256 + 16 * rows, 16 * rows],
      ].flat(),
    );
  });

  it('lets the device fetch what lies in adopted memory, if it is much', () => {
    const rows = 2 ** 13;
    const bytes = 16 * rows;
    const memory = new SharedArrayBuffer(2 * bytes + 3 * 4096);
    const adopted = new AdoptedMemory(device as NativeDevice);
    adopted.adopt(memory);
    const small = new Uint8Array(4 * rows);
    const queryOf = (x: Float32Array, n: number) => ({ rows: n, firstRow: 0, inputs: [x, small.subarray(0, 4 * n)] });
    const encode = (...queries: ReturnType<typeof queryOf>[]): number[][] => {
      const total = queries.reduce((n, q) => n + q.rows, 0);
      const commands = new CommandList();
      const staging = { buffer: new ArrayBuffer(256 + 32 * total), address: 10_000 };
      const starts = [0, 16 * total];
      const places = { staging, adopted, offset: 256, device: 2 ** 30, starts, end: 32 * total };
      inputs.encode({ bindings: new Map([['rows', total]]), queries }, places, commands);
      const list: number[][] = [];
      for (let at = 0; at < commands.count; at += 4) list.push([...commands.numbers.subarray(at, at + 4)]);
      return list;
    };
    const inside = new Float32Array(memory, 4096, 4 * rows);
    const atTheEnd = new Float32Array(memory, 4096 + bytes, 4 * rows);
    const own = new Float32Array(4 * rows);
    const fetch = (to: number, from: number): number[] => [OPERATIONS.upload, 2 ** 30 + to, 2 ** 40 + from, bytes];
    const small2 = [OPERATIONS.upload, 2 ** 30 + bytes, 10_256 + bytes, bytes];
    expect(encode(queryOf(inside, rows))).toEqual([fetch(0, 10), small2]);
    // Among others that are copied, which are sent up to it and from behind it on.
    expect(encode(queryOf(own, rows), queryOf(atTheEnd, rows), queryOf(own, rows)).slice(0, 5)).toEqual([
      [OPERATIONS.copy, 10_256, 0, bytes],
      [OPERATIONS.upload, 2 ** 30, 10_256, bytes],
      fetch(bytes, bytes + 10),
      [OPERATIONS.copy, 10_256 + 2 * bytes, 1, bytes],
      [OPERATIONS.upload, 2 ** 30 + 2 * bytes, 10_256 + 2 * bytes, 4 * bytes],
    ]);
    // Not as a whole on its pages, too little, or not any more.
    const before = new Float32Array(memory, 4080, 4 * rows);
    expect(encode(queryOf(before, rows))[0]).toEqual([OPERATIONS.copy, 10_256, 0, bytes]);
    expect(encode(queryOf(inside.subarray(0, 4), 1))[0]).toEqual([OPERATIONS.copy, 10_256, 0, 16]);
    adopted.disown(memory);
    expect(encode(queryOf(inside, rows))[0]).toEqual([OPERATIONS.copy, 10_256, 0, bytes]);
  });
});
