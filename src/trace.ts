import { closeSync, openSync, writeSync } from 'node:fs';
import { BraidError } from '../runtime/errors.js';
import type { Span, TraceSink } from '../runtime/index.js';

/** Events kept before they are written. */
const BUFFERED = 512;

/**
 * Writes spans as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open: complete events in the JSON
 * array format, a thread a track; spans of `queries` overlap and are async events.
 */
export class TraceFile implements TraceSink {
  readonly #file: number;
  readonly #threads = new Map<string, number>();
  #events: string[] = [];
  #written = false;
  #asyncId = 0;

  /** @throws BraidError FILE_UNREADABLE where the file cannot be written. */
  constructor(path: string) {
    try {
      this.#file = openSync(path, 'w');
    } catch (cause) {
      throw new BraidError('FILE_UNREADABLE', `trace '${path}' cannot be written: ${(cause as Error).message}`, {
        cause,
      });
    }
    writeSync(this.#file, '[\n');
  }

  span({ track, name, start, end, args = {} }: Span): void {
    const common = { name, pid: 1, tid: this.#thread(track), cat: track, args };
    // Microseconds, as the format wants.
    const ts = start * 1000;
    if (track === 'queries') {
      const id = this.#asyncId++;
      this.#add({ ...common, ph: 'b', id, ts });
      this.#add({ ...common, ph: 'e', id, ts: end * 1000, args: {} });
    } else {
      this.#add({ ...common, ph: 'X', ts, dur: Math.max(0, end - start) * 1000 });
    }
  }

  close(): void {
    this.#flush();
    writeSync(this.#file, '\n]\n');
    closeSync(this.#file);
  }

  #thread(track: string): number {
    let id = this.#threads.get(track);
    if (id === undefined) {
      id = this.#threads.size + 1;
      this.#threads.set(track, id);
      this.#add({ name: 'thread_name', ph: 'M', pid: 1, tid: id, args: { name: track } });
    }
    return id;
  }

  #add(event: object): void {
    this.#events.push(JSON.stringify(event));
    if (this.#events.length >= BUFFERED) this.#flush();
  }

  #flush(): void {
    if (this.#events.length === 0) return;
    writeSync(this.#file, `${this.#written ? ',\n' : ''}${this.#events.join(',\n')}`);
    this.#written = true;
    this.#events = [];
  }
}
