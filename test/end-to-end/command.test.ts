import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTensors } from '../../src/io/index.js';
import { goldenPath } from '../support/golden.js';
import { runCommand, startCommand } from '../support/built.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'braid-command-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('braid check', () => {
  it('passes on recorded inputs and outputs of all batches', async () => {
    const files = ['b1', 'b7', 'b64'].map((b) => goldenPath(`wnd.${b}.safetensors`));
    const { code, stdout } = await runCommand(['check', goldenPath('wnd.onnx'), ...files]);
    expect(stdout).toMatch(/passed at rtol 0\.0001, atol 0\.00001/);
    expect(code).toBe(0);
  });

  it('exits 1 where an output is off', async () => {
    const { code, stdout } = await runCommand([
      'check',
      goldenPath('wnd.onnx'),
      goldenPath('wnd.b7.safetensors'),
      '--rtol',
      '1e-12',
      '--atol',
      '1e-12',
    ]);
    expect(stdout).toMatch(/out/);
    expect(code).toBe(1);
  });
});

describe('braid run', () => {
  it('writes what it computes as npy', async () => {
    const all = await readTensors(goldenPath('dlrm.b7.safetensors'));
    const inputs = path.join(folder, 'inputs.json');
    const asLists = (name: string, width: number) => {
      const values = Array.from(all.get(`in.${name}`)!.data, Number);
      return Array.from({ length: 7 }, (_, row) => values.slice(row * width, (row + 1) * width));
    };
    await writeFile(inputs, JSON.stringify({ dense: asLists('dense', 13), sparse: asLists('sparse', 26) }));
    const output = path.join(folder, 'out.npy');
    const { code, stderr } = await runCommand(['run', goldenPath('dlrm.onnx'), '--input', inputs, '--output', output]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const found = [...(await readTensors(output)).values()][0]!;
    expect(found.dims).toEqual([7, 1]);
    const expected = all.get('out.out')!.data as Float32Array;
    for (const [i, v] of (found.data as Float32Array).entries()) expect(v).toBeCloseTo(expected[i]!, 5);
  });
});

describe('models that cannot be loaded', () => {
  it.each([
    [
      'a truncated model',
      async (file: string) => writeFile(file, (await readFile(goldenPath('wnd.onnx'))).subarray(0, 5000)),
    ],
    ['a picture', (file: string) => writeFile(file, Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'))],
  ])('refuses %s with the reason', async (_, write) => {
    const file = path.join(folder, 'broken.onnx');
    await write(file);
    const { code, stderr } = await runCommand(['inspect', file]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error MODEL_UNREADABLE: .*broken/);
  });
});

describe('braid inspect', () => {
  it('shows inputs, operators, plan and memory', async () => {
    const { code, stdout } = await runCommand(['inspect', 'zoo:din:tiny']);
    expect(code).toBe(0);
    for (const text of ['hist_item', 'Gather', 'MatMul', 'weights']) expect(stdout).toContain(text);
  });
});

describe('braid demo', () => {
  it('predicts with each model of the zoo and says what computed', async () => {
    const { code, stdout } = await runCommand(['demo', '--once']);
    expect(code).toBe(0);
    for (const name of ['wnd', 'din', 'dlrm', 'bst'])
      expect(stdout).toMatch(new RegExp(`^${name} .*out \\[0\\.\\d+`, 'm'));
    expect(stdout).toMatch(/computes on \S+/);
    expect(stdout).toMatch(/curl -s/);
  });
});

describe('braid serve', () => {
  it('serves a folder and stops in order on SIGTERM', async () => {
    const server = startCommand([
      'serve',
      path.dirname(goldenPath('wnd.onnx')),
      '--port',
      '0',
      '--log-level',
      'silent',
    ]);
    let said = '';
    server.stdout!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    server.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const url = await until(() => /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0]);
    await until(async () => ((await fetch(`${url}/v2/health/ready`)).ok ? true : undefined));
    const metadata = (await (await fetch(`${url}/v2/models/bst`)).json()) as {
      inputs: { name: string; shape: number[] }[];
    };
    expect(metadata.inputs.map((i) => i.name)).toEqual(['hist_item', 'item', 'profile']);
    expect(metadata.inputs[0]!.shape).toEqual([-1, 10]);
    const ended = new Promise<number | null>((resolve) => server.on('exit', resolve));
    server.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});

/** Polls, within the test's own time limit, until there is something to return. */
async function until<T>(probe: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
