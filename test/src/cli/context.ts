import { EventEmitter } from 'node:events';
import type { CliContext, DeviceReport } from '../../../src/cli/context.js';
import type { EngineOptions } from '../../../src/engine.js';
import { runCli } from '../../../src/cli/program.js';
import type { tuneModel } from '../../../src/tuning/index.js';
import { FAKE_DEVICE, FakeEngine } from '../server/fake.js';

/** What a command printed and ended with. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A context of fakes that gathers what commands print. */
export class FakeContext implements CliContext {
  readonly engine = new FakeEngine();
  readonly opened: string[] = [];
  engineOptions: EngineOptions | undefined;
  readonly source = new EventEmitter();
  readonly signals = { source: this.source, exit: () => {} };
  report: DeviceReport = { found: FAKE_DEVICE, tried: [{ origin: 'hardware', ok: false, detail: 'no Vulkan driver' }] };
  readonly debug: boolean;
  readonly isTTY: boolean;
  printed = '';
  errors = '';

  readonly out = {
    write: (text: string) => {
      this.printed += text;
    },
  };
  readonly err: CliContext['err'];

  constructor(options: { debug?: boolean; isTTY?: boolean } = {}) {
    this.debug = options.debug ?? false;
    this.isTTY = options.isTTY ?? false;
    this.err = {
      isTTY: this.isTTY,
      columns: 40,
      write: (text: string) => {
        this.errors += text;
      },
    };
  }

  async openEngine(options: EngineOptions): Promise<FakeEngine> {
    this.opened.push(options.adapter ?? 'auto');
    this.engineOptions = options;
    return this.engine;
  }

  async describeDevices(): Promise<DeviceReport> {
    return this.report;
  }

  tuned: Parameters<typeof tuneModel>[] = [];

  readonly tuneModel: typeof tuneModel = async (...given) => {
    this.tuned.push(given);
    const products = [
      {
        n: 64,
        k: 32,
        a: 'along' as const,
        b: 'across' as const,
        vectors: true,
        halves: false,
        measured: [{ m: 256, us: 2, tile: { kind: 'direct' as const, threadM: 8, threadN: 4 as const } }],
      },
    ];
    return { device: FAKE_DEVICE, path: '/cache/tiles.json', products };
  };

  async run(...args: string[]): Promise<Ran> {
    const code = await runCli(args, this);
    return { code, out: this.printed, err: this.errors };
  }
}
