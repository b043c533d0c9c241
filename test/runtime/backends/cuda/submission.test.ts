import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';

const build = resolve('native', 'build');
const addon = resolve(build, 'braid_cuda.node');
const driver = resolve(build, 'driver');
const script = resolve('test', 'support', 'submissions.mjs');

interface Ended {
  readonly point: number;
  readonly reason: string;
  readonly fault: number;
}

interface Report {
  readonly roundTrips: number;
  readonly repeats: { readonly wrong: number; readonly graphs: number };
  readonly adopts: {
    readonly same: boolean;
    readonly pages: number;
    readonly offset: number;
    readonly small: string;
    readonly twice: string;
  };
  readonly takesOver: boolean;
  readonly shrinks: {
    readonly reason: string;
    readonly fault: number;
    readonly zeros: boolean;
    readonly kept: boolean;
  };
  readonly shrinksAmongMany: { readonly reason: string; readonly fault: number; readonly kept: boolean };
  readonly detached: Ended;
  readonly noKernel: Ended;
  readonly unknown: Ended;
  readonly afterwards: Ended;
  readonly noProduct: Ended;
  readonly products: readonly (number | string)[];
  readonly refusedProduct: string;
  readonly noOperand: Ended;
  readonly noArray: string;
  readonly noLane: string;
  readonly busy: string;
}

// Where the addon is built: over a driver without a device, so that no GPU is needed.
describe.skipIf(!existsSync(addon) || !existsSync(driver))('submissions to the CUDA addon', () => {
  let report: Report;
  beforeAll(async () => {
    const env = { ...process.env, LD_LIBRARY_PATH: driver };
    const { stdout } = await promisify(execFile)(process.execPath, [script, addon], { env });
    report = JSON.parse(stdout) as Report;
  }, 60_000);

  it('carry the bytes of callers to the device, on this thread and on others', () => {
    expect(report.roundTrips).toBe(0);
  });

  // Of 40 lists 20 are one and 10 another; four of each are launched one by one, and so are the 10 that differ.
  it('are graphs where they repeat, whatever is uploaded before them', () => {
    expect(report.repeats).toEqual({ wrong: 0, graphs: 22 });
  });

  it('read pages that lie in shared memory as a whole, until it is disowned', () => {
    const { same, pages, offset, small, twice } = report.adopts;
    expect([same, pages >= 4, offset < 4096]).toEqual([true, true, true]);
    expect(small).toContain('no page');
    expect(twice).toContain('not adopted');
  });

  it('wait for what another lane has been given before', () => {
    expect(report.takesOver).toBe(true);
  });

  it('tell of a buffer that is resized before it is read, and go on with zeros', () => {
    expect(report.shrinks).toEqual({ reason: '', fault: 1, zeros: true, kept: true });
  });

  it('do so where threads share the copies', () => {
    expect(report.shrinksAmongMany).toEqual({ reason: '', fault: 0, kept: true });
  });

  it('tell of a buffer that was detached before', () => {
    expect(report.detached).toMatchObject({ reason: '', fault: 0 });
  });

  it('tell of what fails, and the lane can be used again', () => {
    expect(report.noKernel).toMatchObject({ fault: -1, reason: expect.not.stringMatching(/^$/) });
    expect(report.unknown.reason).toContain('unknown command');
    expect(report.afterwards).toMatchObject({ reason: '', fault: -1, point: report.unknown.point + 1 });
  });

  it('multiply by cuBLASLt: whichever way a weight lies, with bias and ReLU and without', () => {
    expect(report.products).toEqual(Array.from({ length: 8 }, () => 0));
  });

  it('tell of products that cuBLASLt does not make, or whose operands are not there', () => {
    expect(report.refusedProduct).toContain('no algorithm');
    expect(report.noProduct.reason).toContain('what is not there');
    expect(report.noOperand.reason).toContain('what is not there');
  });

  it('are refused where they make no sense', () => {
    expect(report.noArray).toContain('no typed array');
    expect(report.noLane).toContain('no such lane');
    expect(report.busy).toContain('under way');
  });
});
