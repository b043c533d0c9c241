import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEngine } from '../../src/index.js';
import { zooInputs } from '../../src/zoo/index.js';
import { TraceFile } from '../../src/trace.js';
import { expectRejection } from '../support/errors.js';

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args: Record<string, unknown>;
}

describe('a trace', () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'braid-trace-'))));
  afterAll(() => rm(folder, { recursive: true }));

  const read = async (file: string): Promise<TraceEvent[]> => JSON.parse(await readFile(file, 'utf8')) as TraceEvent[];

  it('is a JSON array of complete events, whatever its length', async () => {
    const path = join(folder, 'spans.json');
    const trace = new TraceFile(path);
    for (let i = 0; i < 2000; i++) trace.span({ track: 'lane 0', name: `"${i}"`, start: i, end: i + 0.5 });
    trace.close();
    const events = await read(path);
    expect(events.filter((e) => e.ph === 'X')).toHaveLength(2000);
    expect(events[0]).toMatchObject({ name: 'thread_name', args: { name: 'lane 0' } });
    expect(events.at(-1)).toMatchObject({ name: '"1999"', ts: 1_999_000, dur: 500 });
  });

  it('shows queries, uploads, lanes, operators and read-backs of an engine', async () => {
    const path = join(folder, 'engine.json');
    const engine = await openEngine({ thread: 'main', trace: path });
    const model = await engine.load({ kind: 'zoo', model: 'wnd', scale: 'tiny' });
    await Promise.all([1, 2, 3].map((seed) => model.run(zooInputs('wnd', 'tiny', 4, seed))));
    const { features } = engine.device;
    const { dispatches } = await model.summary();
    await engine.close();
    const events = await read(path);
    const tracks = new Set(events.filter((e) => e.ph === 'X' || e.ph === 'b').map((e) => e.cat));
    for (const track of ['queries', 'upload', 'lane 0', 'read-back']) expect(tracks).toContain(track);
    expect(events.filter((e) => e.ph === 'b' && e.cat === 'queries')).toHaveLength(3);
    const waves = events.filter((e) => e.cat === 'upload' && e.ph === 'X').length;
    const operators = events.filter((e) => e.cat?.endsWith('operators') && e.ph === 'X').length;
    expect(operators).toBe(features.includes('timestamp-query') ? waves * dispatches : 0);
    for (const { dur } of events.filter((e) => e.ph === 'X')) expect(dur).toBeGreaterThanOrEqual(0);
  }, 60_000);

  it('that cannot be written is refused, naming the file', async () => {
    await expectRejection(
      'FILE_UNREADABLE',
      /trace '\/nowhere\/t\.json' cannot be written: ENOENT/,
      openEngine({ thread: 'main', trace: '/nowhere/t.json' }),
    );
  });
});
