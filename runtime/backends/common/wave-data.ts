import { ERROR_CODES, ERROR_HEADER_WORDS, ERROR_RECORD_WORDS, QUERY_CODES } from '../../../shaders/errors.js';
import type { OutputSource } from '../../compile/lower.js';
import { knownData, type Plan } from '../../compile/plan.js';
import { deviceBytes, deviceType, elementsOf, type View } from '../../compile/view.js';
import { BraidError } from '../../errors.js';
import { evaluate, symbolsOf, type Bindings, type Dim } from '../../graph/dim.js';
import type { DataType, TensorData } from '../../graph/dtype.js';
import { alignUp, REGION_ALIGNMENT } from '../../memory/arena.js';
import type { QueryResult, Wave, WaveQuery } from '../backend.js';
import { readFromDevice, writeToDevice } from './transfer.js';

export const ERROR_RECORD_BYTES = ERROR_RECORD_WORDS * 4;
export const ERROR_HEADER_BYTES = ERROR_HEADER_WORDS * 4;

/** Epochs fill the bits that error codes leave in a tag. */
export const LAST_EPOCH = Math.floor(0xffff_ffff / ERROR_CODES) - 1;

/** How many error records a wave has, of rows and of queries. */
export interface ErrorRecords {
  readonly rows: number;
  readonly queries: number;
}

/** Writes the head of a wave's error records at byte `at`. */
export function writeErrorHeader(target: ArrayBuffer, at: number, epoch: number, { rows }: ErrorRecords): void {
  new Uint32Array(target, at, ERROR_HEADER_WORDS).set([0, epoch, rows, 0]);
}

/** An output on the device, and where it goes in a read-back. */
export interface ReadbackPlace {
  readonly view: View;
  /** Bytes of `view` at a wave's sizes. */
  readonly bytes: number;
  readonly at: number;
}

/** What a read-back holds: the error header and records, then the outputs. */
export interface Readback {
  readonly places: readonly ReadbackPlace[];
  /** Of every output, in the plan's order; one known at load has no place. */
  readonly offsets: readonly number[];
  readonly end: number;
}

/** A plan's inputs, outputs and error records as bytes on the host, whatever the device. */
export class WaveData {
  readonly #plan: Plan;
  /** Of every output, whether its size follows the rows. */
  readonly #rowed: readonly boolean[];

  constructor(plan: Plan) {
    this.#plan = plan;
    const { rows } = plan;
    this.#rowed = plan.outputs.map(({ shape }) => rows !== undefined && shape.some((d) => symbolsOf(d).has(rows)));
  }

  /** Bytes of each of the program's inputs in a wave. */
  inputBytes({ queries }: Wave): number[] {
    const sizes = this.#plan.inputs.map(
      ({ dtype }, i) => deviceBytes(deviceType(dtype)) * queries.reduce((n, { inputs }) => n + inputs[i]!.length, 0),
    );
    if (this.#plan.queries !== undefined) sizes.push(4 * queries.reduce((n, { rows }) => n + rows, 0));
    return sizes;
  }

  /**
   * Writes the head of the error records at byte `head`, and the inputs of all queries, one after another, each input from
   * its place in `from`.
   */
  stage(wave: Wave, staged: ArrayBuffer, epoch: number, from: readonly number[], head = 0): void {
    writeErrorHeader(staged, head, epoch, this.recordsOf(wave));
    const write = (index: number, dtype: DataType, partOf: (query: WaveQuery, q: number) => TensorData): void => {
      const width = deviceBytes(deviceType(dtype));
      let at = from[index]!;
      wave.queries.forEach((query, q) => {
        const data = partOf(query, q);
        writeToDevice(dtype, data, staged, at);
        at += data.length * width;
      });
    };
    this.#plan.inputs.forEach(({ dtype }, i) => write(i, dtype, (query) => query.inputs[i]!));
    if (this.#plan.queries !== undefined)
      write(this.#plan.inputs.length, 'int32', ({ rows }, q) => new Int32Array(rows).fill(q));
  }

  records(rows: number, queries: number): ErrorRecords {
    // Kernels tell rows apart by position alone, whether the plan mixes them or not.
    return { rows: Math.max(1, rows), queries: this.#plan.queries === undefined ? 0 : queries };
  }

  recordsOf({ bindings, queries }: Wave): ErrorRecords {
    if (this.#plan.program.lookups.length === 0) return { rows: 0, queries: 0 };
    return this.records(this.#plan.rows === undefined ? 1 : (bindings.get(this.#plan.rows) ?? 1), queries.length);
  }

  /** Bytes of the error header and records at the beginning of a read-back. */
  errorBytes(wave: Wave): number {
    const { rows, queries } = this.recordsOf(wave);
    return ERROR_HEADER_BYTES + (rows + queries) * ERROR_RECORD_BYTES;
  }

  readback(wave: Wave): Readback {
    let at = alignUp(this.errorBytes(wave), REGION_ALIGNMENT);
    const places: ReadbackPlace[] = [];
    const offsets = this.#plan.program.outputs.map((output) => {
      const from = at;
      if (output.kind === 'device') {
        const bytes = evaluate(elementsOf(output.view), wave.bindings) * deviceBytes(output.view.storage.type);
        if (bytes > 0) places.push({ view: output.view, bytes, at });
        at += alignUp(bytes, 16);
      }
      return from;
    });
    return { places, offsets, end: at };
  }

  /** The answers in a read-back that begins at byte `begin` of `mapped`. */
  results(wave: Wave, mapped: ArrayBuffer, offsets: readonly number[], epoch: number, begin = 0): QueryResult[] {
    const errors = this.#lookupErrors(wave, mapped, begin, epoch);
    const readers = this.#plan.program.outputs.map((output, i) =>
      this.#reader(output, this.#rowed[i]!, wave, mapped, begin + offsets[i]!),
    );
    let row = 0;
    return wave.queries.map(({ rows }, q): QueryResult => {
      const first = row;
      row += rows;
      const error = errors.get(q);
      return error ? { error } : { outputs: readers.map((read) => read(rows, first)) };
    });
  }

  /** What reads an output's `rows` rows from row `firstRow` of the wave on. */
  #reader(
    output: OutputSource,
    rowed: boolean,
    { bindings, queries }: Wave,
    mapped: ArrayBuffer,
    offset: number,
  ): (rows: number, firstRow: number) => TensorData {
    const { rows: symbol } = this.#plan;
    if (output.kind === 'known')
      return (rows) => knownData(output, symbol === undefined ? bindings : new Map(bindings).set(symbol, rows));
    const { dtype, storage } = output.view;
    const total = evaluate(elementsOf(output.view), bindings);
    // An output without rows is the same for every query of the wave.
    if (!rowed || queries.length === 1) return () => readFromDevice(dtype, mapped, offset, total);
    const width = total / Math.max(1, bindings.get(symbol!) ?? 0);
    const rowBytes = width * deviceBytes(storage.type);
    return (rows, firstRow) => readFromDevice(dtype, mapped, offset + firstRow * rowBytes, rows * width);
  }

  /** The first offending index of each query, told by the place of the records. */
  #lookupErrors(wave: Wave, mapped: ArrayBuffer, begin: number, epoch: number): Map<number, BraidError> {
    const found = new Map<number, BraidError>();
    const records = this.recordsOf(wave);
    const count = records.rows + records.queries;
    const words = new Uint32Array(mapped, begin, ERROR_HEADER_WORDS + count * ERROR_RECORD_WORDS);
    if (count === 0 || words[0] === 0) return found;
    /** What record `index` says, if this wave wrote it; `row` is that of the query. */
    const explain = (index: number, firstRow: number, row: number): BraidError | undefined => {
      const at = ERROR_HEADER_WORDS + index * ERROR_RECORD_WORDS;
      const tag = words[at]!;
      if (Math.floor(tag / ERROR_CODES) !== epoch) return undefined;
      const value = (BigInt(words[at + 3]! | 0) << 32n) | BigInt(words[at + 2]!);
      return this.#explain(tag % QUERY_CODES, firstRow, row, words[at + 1]!, value, wave.bindings);
    };
    let first = 0;
    wave.queries.forEach((query, q) => {
      const rows = this.#plan.rows === undefined ? 1 : query.rows;
      let error = records.queries > 0 ? explain(records.rows + q, 0, 0) : undefined;
      for (let row = 0; row < rows && !error; row++) error = explain(first + row, query.firstRow, row);
      if (error) found.set(q, error);
      first += rows;
    });
    return found;
  }

  #explain(
    code: number,
    firstRow: number,
    row: number,
    position: number,
    value: bigint,
    bindings: Bindings,
  ): BraidError {
    const lookup = this.#plan.program.lookups[code]!;
    const at = (dim: Dim): number => evaluate(dim, bindings);
    const size = at(lookup.size);
    const separate = this.#plan.rows !== undefined && this.#plan.rowAnalysis.parallel;
    const where = separate && !lookup.perQuery ? `row ${firstRow + row}, ` : '';
    const run = separate ? position : row * at(lookup.rowRuns) + position;
    const index =
      (Math.floor(run / Math.max(1, at(lookup.runsPerIndex))) % Math.max(1, at(lookup.count))) + at(lookup.offset);
    return new BraidError(
      'INDEX_OUT_OF_RANGE',
      `${lookup.source}: ${where}position ${index}: found id ${value}, expected ${lookup.fromZero ? 0 : -size} to ${size - 1} for table '${lookup.table}'`,
    );
  }
}
