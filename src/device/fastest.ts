import { BraidError, toBraidError } from '../../runtime/errors.js';
import { compile, GraphBuilder, type Backend, type Graph } from '../../runtime/index.js';
import { allocate, type TensorData } from '../../runtime/graph/dtype.js';
import type { OpenedBackend } from './backend.js';

/** A backend that may be opened. */
export interface Candidate {
  readonly name: string;
  /** @throws BraidError DEVICE_UNAVAILABLE where there is none. */
  open(): Promise<OpenedBackend>;
}

/** Rows of the waves that backends are compared by: a query, and what many make together. */
const ROWS = [256, 4096];
/** A GPU that was idle runs slowly at first. */
const WARM_UP_MS = 100;
const REPEATS = 9;

/** What recommendation models do most: ids of 26 features looked up in a table, and two layers over what was found. */
function probe(): Graph {
  const [features, entries, width, hidden] = [26, 1000, 16, 512];
  const b = new GraphBuilder('probe');
  const constant = (name: string, ...dims: number[]): string =>
    b.constant(name, { dtype: 'float32', dims, data: new Float32Array(dims.reduce((x, y) => x * y)).fill(0.01) });
  const ids = b.input('ids', 'int64', ['rows', features]);
  const found = b.op('Gather', [constant('table', entries, width), ids]);
  const flat = b.op('Flatten', [found]);
  const first = b.op('Relu', [b.op('MatMul', [flat, constant('first', features * width, hidden)])]);
  b.output(b.op('MatMul', [first, constant('second', hidden, 1)], {}, { outputs: ['y'] }), 'float32');
  return b.build();
}

/** Milliseconds from host to host that a backend takes for the probe, of each of these numbers of rows. */
export async function timeProbe(backend: Backend, sizes: readonly number[] = ROWS): Promise<number[]> {
  const plan = compile(probe(), { maxBindingBytes: backend.maxBindingBytes, caps: backend.caps });
  const executable = await backend.prepare(plan);
  const run = async (rows: number, ids: TensorData): Promise<number> => {
    const begun = performance.now();
    const queries = [{ rows, firstRow: 0, inputs: [ids] }];
    await executable.submit({ bindings: new Map([['rows', rows]]), queries });
    return performance.now() - begun;
  };
  try {
    const times: number[] = [];
    for (const rows of sizes) {
      const ids = allocate('int64', 26 * rows);
      const until = performance.now() + WARM_UP_MS;
      do await run(rows, ids);
      while (performance.now() < until);
      const taken: number[] = [];
      for (let i = 0; i < REPEATS; i++) taken.push(await run(rows, ids));
      times.push(taken.sort((a, b) => a - b)[Math.floor(REPEATS / 2)]!);
    }
    return times;
  } finally {
    executable.release();
  }
}

function close({ backend, release }: OpenedBackend): void {
  backend.close();
  release();
}

/** Equal weight to both sizes, whatever they take. */
function scoreOf(times: readonly number[]): number {
  return times.reduce((product, ms) => product * ms, 1);
}

/**
 * Opens all that are there, lets each run the probe, and keeps the fastest; `info.origin` says why. A software adapter is
 * taken only where nothing else is there, and a single candidate is not timed.
 * @throws BraidError DEVICE_UNAVAILABLE where none opens, with what each lacks.
 */
export async function openFastest(
  candidates: readonly Candidate[],
  time: (backend: Backend) => Promise<number[]> = (backend) => timeProbe(backend),
): Promise<OpenedBackend> {
  const said: string[] = [];
  const opened: { readonly name: string; readonly device: OpenedBackend }[] = [];
  for (const { name, open } of candidates) {
    try {
      opened.push({ name, device: await open() });
    } catch (error) {
      said.push(`the backend ${name} is not available: ${toBraidError(error).message}`);
    }
  }
  if (opened.length === 0) throw new BraidError('DEVICE_UNAVAILABLE', said.join('; '));
  const [hardware, software] = [false, true].map((is) => opened.filter(({ device }) => device.info.software === is));
  const rivals = hardware!.length > 0 ? hardware! : software!;
  if (hardware!.length > 0) {
    for (const { name, device } of software!) {
      said.push(`${name} has a software adapter alone`);
      close(device);
    }
  }
  let best = { ...rivals[0]!, score: Number.POSITIVE_INFINITY };
  if (rivals.length > 1) {
    const measured: string[] = [];
    for (const rival of rivals) {
      const times = await time(rival.device.backend).catch((error: unknown) => {
        said.push(`the backend ${rival.name} fails: ${toBraidError(error).message}`);
      });
      if (!times) continue;
      measured.push(`${rival.name} takes ${times.map((ms) => ms.toFixed(2)).join(' and ')} ms`);
      if (scoreOf(times) < best.score) best = { ...rival, score: scoreOf(times) };
    }
    for (const { device } of rivals) if (device !== best.device) close(device);
    if (measured.length > 0)
      said.unshift(`${best.name} is the fastest here: for waves of ${ROWS.join(' and ')} rows ${measured.join(', ')}`);
  }
  const { device } = best;
  return { ...device, info: { ...device.info, origin: [device.info.origin, ...said].join('; ') } };
}
