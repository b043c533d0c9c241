import { waveBindings, type Plan } from '../../compile/plan.js';
import { deviceBytes, deviceType } from '../../compile/view.js';
import { BraidError } from '../../errors.js';
import { evaluate, product, type Dim } from '../../graph/dim.js';
import { allocate, type TensorData } from '../../graph/dtype.js';
import type { Wave } from '../backend.js';
import { keepsBytes, writeToDevice } from '../common/transfer.js';
import type { Pinned } from './addon.js';
import type { AdoptedMemory } from './adopted.js';
import type { CommandList } from './commands.js';

/** Bytes of inputs that are worth a copy to the device of their own, which runs while a thread stages the next. */
const UPLOAD_BYTES = 2 ** 19;

/**
 * Bytes of an input in adopted memory that the device fetches by itself. Each such copy takes it some 2.5 us before it begins,
 * as long as it takes for 128 KiB: fewer are staged among the others, unless few queries are in the wave.
 */
const FETCHED_BYTES = { few: 2 ** 15, many: 2 ** 17 };
const FEW_QUERIES = 2;

/** Where a wave's inputs are staged and where they go, each at its place in `starts`, in bytes. */
export interface InputPlaces {
  readonly staging: Pinned;
  readonly adopted: AdoptedMemory;
  /** Of the inputs in staging memory. */
  readonly offset: number;
  readonly device: number;
  readonly starts: readonly number[];
  readonly end: number;
}

/** Callers' arrays that a submission's thread reads, and which query of the wave each is of. */
export interface Sources {
  readonly arrays: readonly TensorData[];
  readonly queries: readonly number[];
}

function goneError(name: string): BraidError {
  return new BraidError(
    'INPUT_SIZE',
    `input '${name}': its buffer was detached or resized before the device had it; it has to stay until the query is answered`,
  );
}

/**
 * The inputs of a plan's waves on their way to the device. A thread of the addon copies them out of the callers' arrays, so
 * that these can be detached or resized at any time between: their query fails then, and no other. What lies in adopted memory
 * the device fetches itself.
 */
export class WaveInputs {
  readonly #plan: Plan;
  readonly #elements: readonly Dim[];

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#elements = plan.inputs.map(({ shape }) => product(shape));
  }

  /** The queries that lack elements, with their errors. */
  gone({ queries, bindings }: Wave): Map<number, BraidError> {
    const gone = new Map<number, BraidError>();
    this.#plan.inputs.forEach(({ name, shared }, i) => {
      const whole = evaluate(this.#elements[i]!, bindings) * (shared ? queries.length : 1);
      let found = 0;
      for (const { inputs } of queries) found += inputs[i]!.length;
      if (found === whole) return;
      queries.forEach((query, q) => {
        if (query.inputs[i]!.length !== this.#elementsOf(i, bindings, query.rows)) gone.set(q, goneError(name));
      });
    });
    return gone;
  }

  /** The error of a query one of whose arrays could not be read. */
  unreadable({ arrays, queries }: Sources, wave: Wave, source: number): [query: number, error: BraidError] {
    const query = queries[source]!;
    const input = wave.queries[query]!.inputs.indexOf(arrays[source]!);
    return [query, goneError(this.#plan.inputs[input]!.name)];
  }

  #elementsOf(input: number, bindings: Wave['bindings'], rows: number): number {
    return evaluate(this.#elements[input]!, waveBindings(this.#plan, bindings, rows, 1));
  }

  /** The wave with zeros in place of the inputs of these queries. */
  without(wave: Wave, gone: ReadonlyMap<number, BraidError>): Wave {
    if (gone.size === 0) return wave;
    const queries = wave.queries.map((query, q) => {
      if (!gone.has(q)) return query;
      const inputs = this.#plan.inputs.map(({ dtype }, i) =>
        allocate(dtype, this.#elementsOf(i, wave.bindings, query.rows)),
      );
      return { ...query, inputs };
    });
    return { ...wave, queries };
  }

  /** Appends what brings the inputs to the device. What has to be widened is staged here and now. */
  encode({ queries }: Wave, places: InputPlaces, commands: CommandList): Sources {
    const { staging, adopted, offset, device, starts, end } = places;
    const arrays: TensorData[] = [];
    const owners: number[] = [];
    const fetchedBytes = queries.length <= FEW_QUERIES ? FETCHED_BYTES.few : FETCHED_BYTES.many;
    let sent = 0;
    const send = (to: number): void => {
      if (to > sent) commands.upload(device + sent, staging.address + offset + sent, to - sent);
      sent = to;
    };
    this.#plan.inputs.forEach(({ dtype }, i) => {
      const width = deviceBytes(deviceType(dtype));
      const isCopied = keepsBytes(dtype);
      let at = offset + starts[i]!;
      for (let q = 0; q < queries.length; q++) {
        const data = queries[q]!.inputs[i]!;
        const fetched = isCopied && data.byteLength >= fetchedBytes ? adopted.addressOf(data) : undefined;
        if (fetched !== undefined) {
          send(at - offset);
          commands.upload(device + at - offset, fetched, data.byteLength);
          sent += data.byteLength;
        } else if (!isCopied) writeToDevice(dtype, data, staging.buffer, at);
        else if (data.length > 0) {
          commands.copy(staging.address + at, arrays.length, data.byteLength);
          arrays.push(data);
          owners.push(q);
        }
        at += data.length * width;
        if (at - offset - sent >= UPLOAD_BYTES) send(at - offset);
      }
    });
    if (this.#plan.queries !== undefined) {
      let at = staging.address + offset + starts[this.#plan.inputs.length]!;
      queries.forEach(({ rows }, q) => {
        commands.fill(at, q, rows);
        at += 4 * rows;
      });
    }
    send(end);
    return { arrays, queries: owners };
  }
}
