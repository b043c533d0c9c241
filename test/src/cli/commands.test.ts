import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BraidError } from '../../../runtime/errors.js';
import { tensor, type Tensor } from '../../../runtime/graph/tensor.js';
import { readTensors, writeTensorPb, writeTensors } from '../../../src/io/index.js';
import type { ModelSource, TensorInput, TensorSpec } from '../../../src/api.js';
import { describeModel } from '../../../src/zoo/index.js';
import { FakeModel } from '../server/fake.js';
import { FakeContext } from './context.js';

let folder: string;
let context: FakeContext;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'braid-cli-'));
  context = new FakeContext();
});

afterEach(() => rm(folder, { recursive: true }));

const DENSE = tensor('float32', [1, 3], new Float32Array([1, 2, 3]));
const IDS = tensor('int64', [1, 2], new BigInt64Array([4n, 5n]));
const score = (value: number) => tensor('float32', [1, 1], new Float32Array([value]));

async function safetensors(name: string, tensors: Record<string, Tensor>): Promise<string> {
  const path = join(folder, name);
  await writeTensors(path, new Map(Object.entries(tensors)));
  return path;
}

/** Where the command under way listens. */
async function url(): Promise<string> {
  const listening = /listening on (http:\S+)/;
  await expect.poll(() => context.printed).toMatch(listening);
  return listening.exec(context.printed)![1]!;
}

describe('the program', () => {
  test('help and version are no errors', async () => {
    const help = await context.run('--help');
    expect(help).toMatchObject({ code: 0, err: '' });
    for (const name of ['serve', 'demo', 'run', 'check', 'inspect', 'tune', 'doctor'])
      expect(help.out).toContain(`  ${name} `);
    expect(await new FakeContext().run('serve', '--help')).toMatchObject({ code: 0 });
    expect((await new FakeContext().run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test('no command shows the help, as an error', async () => {
    const { code, out, err } = await context.run();
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^Usage: braid/);
    expect(err).not.toContain('error');
  });

  test.each([
    [['frobnicate'], /^error REQUEST_INVALID: unknown command 'frobnicate'/],
    [['run', 'm.onnx'], /^error REQUEST_INVALID: required option '--input <file>'/],
    [['check', 'm.onnx'], /^error REQUEST_INVALID: missing required argument 'file'/],
    [['serve', '--port', 'http'], /^error REQUEST_INVALID: .*'http'.*expected a number from 0 to 65535/],
    [['serve', '--adapter', 'tpu'], /^error REQUEST_INVALID: .*'tpu'.*auto, hardware, software/],
    [['serve', '--policy', 'fifo'], /^error REQUEST_INVALID: .*'fifo'.*recos, query, multistream, batch/],
    [['serve', '--queue-delay', '-1'], /^error REQUEST_INVALID: .*'-1'.*expected a number of milliseconds/],
    [['serve', '--max-queue', '0'], /^error REQUEST_INVALID: .*'0'.*expected a whole number, 1 or more/],
    [['inspect', 'm.onnx', '--rows', 'all'], /^error REQUEST_INVALID: .*'all'.*auto, lift/],
    [['check', 'm.onnx', 'f', '--tables', 'int4'], /^error REQUEST_INVALID: .*'int4'.*float32, float16, int8/],
    [['serve', 'models', '--weights', 'int8'], /^error REQUEST_INVALID: .*'int8'.*float32, float16/],
    [['tune', 'm.onnx', '--waves', '256,x'], /^error REQUEST_INVALID: .*'256,x'.*expected a whole number, 1 or more/],
    [['inspect', 'zoo:dnn'], /^error MODEL_NOT_FOUND: .*dnn/],
    [['serve'], /^error REQUEST_INVALID: nothing to serve/],
    [['serve', '/nowhere'], /^error FILE_UNREADABLE: cannot read \/nowhere: ENOENT/],
  ])('%j is refused with status 2 before a device is opened', async (args, message) => {
    const { code, out, err } = await context.run(...args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(message);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    expect(context.opened).toEqual([]);
  });

  test('stacks only where they are asked for', async () => {
    const debugging = new FakeContext({ debug: true });
    const { err } = await debugging.run('inspect', 'broken.onnx');
    expect(err).toMatch(/^error MODEL_UNREADABLE: broken\.onnx is not an ONNX file\nBraidError: .*\n +at /);
  });

  test('an engine that was opened is closed, also after an error', async () => {
    expect((await context.run('inspect', 'broken.onnx')).code).toBe(2);
    expect(context.engine.closed).toBe(true);
  });
});

describe('tune', () => {
  test('measures what it is asked to, and says where it wrote', async () => {
    const ran = await context.run(
      'tune',
      'zoo:dlrm:tiny',
      '--waves',
      '16,256',
      '--weights',
      'float16',
      '--output',
      't.json',
    );
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('256 x 64 x 32');
    expect(ran.out).toContain('written to /cache/tiles.json');
    const [[source, options]] = context.tuned as [(typeof context.tuned)[number]];
    expect(source).toMatchObject({ kind: 'zoo', model: 'dlrm', scale: 'tiny' });
    expect(options).toMatchObject({ adapter: 'auto', rows: [16, 256], output: 't.json' });
    expect(options.settings.precision).toEqual({ weights: 'float16' });
  });
});

describe('run', () => {
  test('prints JSON, or writes a file', async () => {
    const input = await safetensors('in.safetensors', { dense: DENSE, ids: IDS });
    const ran = await context.run('run', 'm.onnx', '--input', input, '--rows', 'lift', '--adapter', 'software');
    const sharing = new FakeContext();
    await sharing.run('run', 'm.onnx', '--input', input, '--shared', 'dense', '--shared', 'ids');
    expect(sharing.engine.loads[0]).toMatchObject({ options: { shared: ['dense', 'ids'] } });
    const small = new FakeContext();
    await small.run('run', 'm.onnx', '--input', input, '--tables', 'int8', '--weights', 'float16');
    expect(small.engine.loads[0]!.options.precision).toEqual({ tables: 'int8', weights: 'float16' });
    expect(context.engine.loads[0]!.options).not.toHaveProperty('precision');
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(ran.out)).toEqual({ score: [[15]], half: [15], big: [false], first: [4] });
    expect(context.opened).toEqual(['software']);
    expect(context.engine.loads[0]).toMatchObject({ source: { path: 'm.onnx' }, options: { rows: 'lift' } });
    expect(context.engine.closed).toBe(true);

    const output = join(folder, 'out.safetensors');
    const quiet = await new FakeContext().run('run', 'm.onnx', '--input', input, '--output', output);
    expect(quiet).toEqual({ code: 0, out: '', err: '' });
    expect((await readTensors(output)).get('score')).toEqual(score(15));
  });

  test('gathers inputs from several files', async () => {
    const dense = join(folder, 'dense.npy');
    await writeTensors(dense, new Map([['dense', DENSE]]));
    const ids = join(folder, 'ids.json');
    await writeFile(ids, '{"ids": [[4, 5]]}');
    const ran = await context.run('run', 'm.onnx', '--input', dense, '--input', ids);
    expect(JSON.parse(ran.out)).toMatchObject({ score: [[15]] });
    const twice = await new FakeContext().run('run', 'm.onnx', '--input', ids, '--input', ids);
    expect(twice).toMatchObject({
      code: 2,
      err: `error FILE_UNREADABLE: ${ids}: holds input 'ids', which an earlier --input holds too\n`,
    });
  });

  test("the engine's errors come through", async () => {
    const input = await safetensors('in.safetensors', {
      dense: DENSE,
      ids: tensor('int64', [1, 2], new BigInt64Array([4n, 1000n])),
    });
    expect((await context.run('run', 'm.onnx', '--input', input)).err).toBe(
      "error INDEX_OUT_OF_RANGE: input 'ids' row 0 holds 1000, expected 0 to 999\n",
    );
  });

  test('progress is shown on a terminal only, and is gone in the end', async () => {
    const input = await safetensors('in.safetensors', { dense: DENSE, ids: IDS });
    const terminal = new FakeContext({ isTTY: true });
    expect((await terminal.run('run', 'm.onnx', '--input', input)).err).toBe(
      '\r\u001b[Km.onnx: compiling 1/2\r\u001b[K',
    );
    expect((await context.run('run', 'm.onnx', '--input', input)).err).toBe('');
  });
});

describe('check', () => {
  test('passes within the tolerance, with a table', async () => {
    const file = await safetensors('a.safetensors', { 'in.dense': DENSE, 'in.ids': IDS, 'out.score': score(15.0001) });
    const { code, out, err } = await context.run('check', 'm.onnx', file);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^case +output +elements +max abs +max rel +result +largest difference\n/);
    expect(out).toMatch(/a\.safetensors +score +1 +1\.00e-4 +6\.68e-6 +ok +\[0, 0\] is 15, expected 15\.0001/);
    expect(out).toMatch(/passed at rtol 0\.0001, atol 0\.00001\n$/);
  });

  test('fails outside of it with status 1', async () => {
    const good = await safetensors('a.safetensors', { 'in.dense': DENSE, 'in.ids': IDS, 'out.score': score(15) });
    const bad = await safetensors('b.safetensors', { 'in.dense': DENSE, 'in.ids': IDS, 'out.score': score(16) });
    const { code, out } = await context.run('check', 'm.onnx', good, bad);
    expect(code).toBe(1);
    expect(out).toMatch(/a\.safetensors +score +1 +0 +0 +ok +-\n/);
    expect(out).toMatch(/b\.safetensors +score +1 +1\.00e\+0 +6\.25e-2 +FAILED \(1\) +\[0, 0\] is 15, expected 16\n/);
    expect(out).toMatch(/FAILED at rtol/);
    expect((await new FakeContext().run('check', 'm.onnx', bad, '--atol', '1')).code).toBe(0);
  });

  test('another shape fails', async () => {
    const expected = tensor('float32', [1], new Float32Array([15]));
    const file = await safetensors('a.safetensors', { 'in.dense': DENSE, 'in.ids': IDS, 'out.score': expected });
    const { code, out } = await context.run('check', 'm.onnx', file);
    expect(code).toBe(1);
    expect(out).toContain('FAILED  shape [1, 1], expected [1]');
  });

  test('folders of pb files, by position where names are absent or others', async () => {
    const set = join(folder, 'test_data_set_0');
    await mkdir(set);
    await writeFile(join(set, 'input_0.pb'), writeTensorPb(DENSE, 'dense'));
    await writeFile(join(set, 'input_1.pb'), writeTensorPb(IDS));
    await writeFile(join(set, 'output_0.pb'), writeTensorPb(score(15), 'renamed'));
    const { code, out } = await context.run('check', 'm.onnx', set);
    expect(code).toBe(0);
    expect(out).toMatch(/test_data_set_0 +score +1 +0 +0 +ok/);
  });

  test('what cannot be checked is an error, status 2', async () => {
    const other = await safetensors('other.safetensors', { dense: DENSE });
    const none = await safetensors('none.safetensors', { 'in.dense': DENSE, 'in.ids': IDS });
    const unknown = await safetensors('unknown.safetensors', { 'in.dense': DENSE, 'out.logit': DENSE });
    const cases: [string, RegExp][] = [
      [other, /other\.safetensors holds tensor 'dense', expected names in\.NAME and out\.NAME/],
      [none, /none\.safetensors holds no outputs to check/],
      [unknown, /^error OUTPUT_UNKNOWN: .*no output 'logit', it has 'score', 'half', 'big', 'first'/],
      [join(folder, 'gone.safetensors'), /^error FILE_UNREADABLE: .*gone\.safetensors/],
    ];
    for (const [file, message] of cases) {
      const { code, err } = await new FakeContext().run('check', 'm.onnx', file);
      expect(code).toBe(2);
      expect(err).toMatch(message);
    }
  });
});

describe('inspect', () => {
  test('shows all of the summary', async () => {
    const { code, out } = await context.run('inspect', 'm.onnx');
    expect(code).toBe(0);
    for (const line of [
      /^model +model$/m,
      /^parameters +12,345$/m,
      /^weights +48\.2 KiB$/m,
      /^dispatches +2 a wave$/m,
      /^rows per wave +4,096$/m,
      /^ids +int64 +\[batch, 2\]$/m,
      /^score +float32 +\[batch, 1\]$/m,
      /^Gather +2$/m,
      /^ {2}0 gather_sum ids -> emb \(device\)$/m,
      /^ {2}float64 weights were narrowed to float32$/m,
      /^device +SwiftShader \(webgpu, swiftshader \(npm\), software\)$/m,
    ]) {
      expect(out).toMatch(line);
    }
  });

  test('as JSON', async () => {
    const { out } = await context.run('inspect', 'zoo:wnd:tiny', '--json');
    expect(JSON.parse(out)).toMatchObject({ operators: { Gather: 2 }, device: { adapter: 'SwiftShader' } });
    expect(context.engine.loads[0]!.source).toEqual({ kind: 'zoo', model: 'wnd', scale: 'tiny' });
  });
});

describe('doctor', () => {
  test('what was found and what was tried', async () => {
    context.report = {
      ...context.report,
      tried: [{ origin: 'hardware', ok: false, detail: 'no Vulkan driver', fix: 'install the driver' }],
    };
    const { code, out } = await context.run('doctor');
    expect(code).toBe(0);
    expect(out).toMatch(/^adapter +SwiftShader \(software\)$/m);
    expect(out).toMatch(/^ {2}maxBufferSize +1,073,741,824$/m);
    expect(out).toContain('  no  hardware: no Vulkan driver\n      fix: install the driver\n');
  });

  test('no adapter is status 1', async () => {
    context.report = { tried: [] };
    expect(await context.run('doctor')).toEqual({ code: 1, out: 'no adapter found\n', err: '' });
    const json = new FakeContext();
    json.report = { tried: [] };
    expect(JSON.parse((await json.run('doctor', '--json')).out)).toEqual({ tried: [] });
  });
});

describe('serve', () => {
  test('serves a folder until a signal, then closes everything', async () => {
    await writeFile(join(folder, 'a.onnx'), '');
    await writeFile(join(folder, 'broken.onnx'), '');
    await writeFile(join(folder, 'notes.txt'), '');
    const running = context.run('serve', folder, '--port', '0', '--rows', 'lift');
    const base = await url();
    await expect.poll(() => context.printed).toContain('serving 1 of 2 models\n');
    expect((await fetch(`${base}/v2/models/a/ready`)).status).toBe(200);
    expect((await fetch(`${base}/v2/health/ready`)).status).toBe(503);
    context.source.emit('SIGTERM');
    const { code, out, err } = await running;
    expect(code).toBe(0);
    expect(out).toMatch(
      /^computes on SwiftShader .*\nlistening on .*\npassed over \(no model\): notes\.txt\nloaded a version 1\nfailed broken version 1: .* is not an ONNX file\n/,
    );
    expect(out).toMatch(/stopping: answering what is in flight\n$/);
    expect(JSON.parse(err.split('\n')[0]!)).toMatchObject({ level: 30 });
    expect(context.engine.closed).toBe(true);
    expect(context.source.listenerCount('SIGINT')).toBe(0);
  });

  test('the zoo alone, with what loading had to say', async () => {
    const options = ['--log-level', 'silent', '--allow-failed', '--tables', 'float16'];
    const running = context.run('serve', '--zoo', '--port', '0', ...options);
    const base = await url();
    await expect.poll(() => context.printed).toContain('serving 4 of 4 models\n');
    const { models } = (await (await fetch(base)).json()) as { models: { name: string }[] };
    expect(models.map(({ name }) => name)).toEqual(['bst', 'din', 'dlrm', 'wnd']);
    context.source.emit('SIGINT');
    expect(await running).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringContaining('loaded din version 1\n  weights stored in fewer bits\n'),
    });
  });

  test('a model named as one of the zoo, and a port that is taken', async () => {
    await writeFile(join(folder, 'din.onnx'), '');
    expect(await context.run('serve', folder, '--zoo', '--port', '0')).toMatchObject({
      code: 2,
      err: expect.stringContaining("error REQUEST_INVALID: model 'din' version 1 is registered already\n"),
    });
    expect(context.engine.closed).toBe(true);

    context = new FakeContext();
    const running = context.run('serve', '--zoo', '--port', '0');
    const { port } = new URL(await url());
    expect((await new FakeContext().run('serve', '--zoo', '--port', port)).err).toContain(
      `error REQUEST_INVALID: cannot listen on 127.0.0.1:${port}: the port is taken, choose another with --port`,
    );
    context.source.emit('SIGINT');
    await running;
  });

  test('a folder without models', async () => {
    await mkdir(join(folder, 'notes'));
    expect((await context.run('serve', folder)).err).toMatch(
      /^error MODEL_NOT_FOUND: no model in .*: it holds notes, expected/,
    );
  });

  test('stops while models are still loading', async () => {
    context.engine.hold = new Promise((resolve) => context.source.once('SIGINT', () => setTimeout(resolve, 20)));
    const running = context.run('serve', '--zoo', '--port', '0');
    await url();
    context.source.emit('SIGINT');
    expect((await running).code).toBe(0);
    expect(context.engine.loads).toHaveLength(1);
  });
});

describe('demo', () => {
  test('predicts with each model over HTTP and stops', async () => {
    context.engine.load = async (source) => new ZooModel(source);
    const { code, out, err } = await context.run('demo', '--once');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^computes on SwiftShader .*\nlistening on http:\/\/127\.0\.0\.1:\d+\n\n/);
    for (const name of ['wnd', 'din', 'dlrm', 'bst']) {
      expect(out).toMatch(new RegExp(`^${name} .* y \\[4\\.000, 5\\.000\\]  \\d+\\.\\d ms \\(first request\\)$`, 'm'));
    }
    expect(context.engine.closed).toBe(true);
  });

  test('prints a curl line that works while it keeps serving', async () => {
    context.engine.load = async (source) => new ZooModel(source);
    const running = context.run('demo');
    await expect.poll(() => context.printed).toContain('serving until Ctrl-C');
    const line = /^curl .*$/m.exec(context.printed)![0];
    const { stdout } = await promisify(execFile)('sh', ['-c', line.replace(/^curl /, 'printf "%s\\n" ')]);
    const [, target, , , , body] = stdout.split('\n');
    const response = await fetch(target!, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: body!,
    });
    expect(await response.json()).toMatchObject({ outputs: [{ name: 'y', data: [1, 5] }] });
    context.source.emit('SIGINT');
    expect((await running).code).toBe(0);
  });

  test('Ctrl-C while models load ends it quietly', async () => {
    context.engine.hold = new Promise((resolve) => context.source.once('SIGINT', () => setTimeout(resolve, 20)));
    const running = context.run('demo');
    await url();
    context.source.emit('SIGINT');
    expect(await running).toMatchObject({ code: 0, err: '' });
  });

  test('a model that fails to load is an error', async () => {
    context.engine.load = () => Promise.reject(new BraidError('DEVICE_LOST', 'the device is gone'));
    const { code, err } = await context.run('demo', '--once');
    expect(code).toBe(2);
    expect(err).toMatch(/^error MODEL_NOT_READY: .*model 'wnd' version 1 failed to load: the device is gone\n$/);
  });
});

/** Takes the inputs of a zoo model and answers with their number of rows, and 5. */
class ZooModel extends FakeModel {
  override readonly inputs: readonly TensorSpec[];
  override readonly outputs: readonly TensorSpec[] = [{ name: 'y', dtype: 'float32', shape: [2] }];

  constructor(source: ModelSource) {
    if (source.kind !== 'zoo') throw new Error('expected a zoo model');
    super(source.model);
    this.inputs = describeModel(source.model, source.scale!).inputs;
  }

  override async run(inputs: Readonly<Record<string, TensorInput>>): Promise<Record<string, Tensor>> {
    const rows = Object.values(inputs)[0]!.dims[0]!;
    return { y: tensor('float32', [2], new Float32Array([rows, 5])) };
  }
}

test('package.json names the file that main.ts builds to', async () => {
  const { bin } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    bin: { braid: string };
  };
  expect(bin.braid).toBe('dist/src/cli/main.js');
  const main = await readFile(new URL('../../../src/cli/main.ts', import.meta.url), 'utf8');
  expect(main.startsWith('#!/usr/bin/env node\n')).toBe(true);
});
