import { toBraidError } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import { setOwn } from '../../runtime/record.js';
import type { Model, TensorInput } from '../api.js';
import { alignTensor, KnownPieces, PIECE_START, roomOf, type MemoryAdopter } from '../lending.js';
import type { Request, WireAnswer, WireQuery, WireTensor } from './protocol.js';
import { copyTo, fromWire, toWire } from './tensors.js';

/** Runs the queries that come to the engine's thread. Those answered in one turn go back in one message. */
export class QueryService {
  readonly #models: ReadonlyMap<number, Model>;
  readonly #send: (answers: readonly WireAnswer[], transfer: ArrayBuffer[]) => void;
  /** Shared memory of the client. */
  readonly #memory: KnownPieces;
  #answers: WireAnswer[] = [];
  #transfer: ArrayBuffer[] = [];

  constructor(
    models: ReadonlyMap<number, Model>,
    adopter: MemoryAdopter,
    send: (answers: readonly WireAnswer[], transfer: ArrayBuffer[]) => void,
  ) {
    this.#models = models;
    this.#memory = new KnownPieces(adopter);
    this.#send = send;
  }

  run(request: Extract<Request, { kind: 'run' }>): void {
    this.#memory.hear(request);
    for (const query of request.queries) this.#run(query);
  }

  #run([id, key, options, memory, wires]: WireQuery): void {
    const model = this.#models.get(key)!;
    const fail = (cause: unknown): void => {
      const { code, message } = toBraidError(cause);
      this.#answer([id, code, message]);
    };
    try {
      const inputs: Record<string, TensorInput> = {};
      for (const wire of wires) {
        const name = typeof wire[0] === 'number' ? model.inputs[wire[0]]!.name : wire[0];
        setOwn(inputs, name, fromWire(wire, this.#memoryOf(wire)));
      }
      model.run(inputs, options).then((outputs) => this.#answer([id, this.#write(model, outputs, memory)]), fail);
    } catch (cause) {
      fail(cause);
    }
  }

  #memoryOf([, , , , memory]: WireTensor): ArrayBufferLike {
    return typeof memory === 'number' ? this.#memory.get(memory)! : memory!;
  }

  /** Puts outputs where the inputs were, if they fit: what crosses then is numbers. */
  #write(model: Model, outputs: Readonly<Record<string, Tensor>>, memory: number | undefined): WireTensor[] {
    const shared = memory === undefined ? undefined : this.#memory.get(memory);
    const end = shared ? PIECE_START + roomOf(shared) : 0;
    const wires: WireTensor[] = [];
    let at = PIECE_START;
    model.outputs.forEach(({ name }, index) => {
      if (!Object.hasOwn(outputs, name)) return;
      const tensor = outputs[name]!;
      const { data } = tensor;
      if (at + data.byteLength <= end) {
        copyTo(shared!, at, data);
        wires.push(toWire(index, tensor, memory, at));
        at = alignTensor(at + data.byteLength);
      } else {
        // Two outputs never share memory, but a duplicate would throw.
        const buffer = data.buffer as ArrayBuffer;
        if (!this.#transfer.includes(buffer)) this.#transfer.push(buffer);
        wires.push(toWire(index, tensor, buffer, data.byteOffset));
      }
    });
    return wires;
  }

  #answer(answer: WireAnswer): void {
    if (this.#answers.push(answer) > 1) return;
    queueMicrotask(() => {
      const [answers, transfer] = [this.#answers, this.#transfer];
      this.#answers = [];
      this.#transfer = [];
      this.#send(answers, transfer);
    });
  }
}
