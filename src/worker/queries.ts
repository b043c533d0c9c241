import { BraidError } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import { setOwn } from '../../runtime/record.js';
import type { LentMemory, RunOptions, TensorInput } from '../api.js';
import { alignTensor, PIECE_START, SharedPool, type SharedPiece } from '../lending.js';
import type { LoadedModel, Request, WireAnswer, WireMemory, WireQuery, WireTensor } from './protocol.js';
import { copyTo, fromWire, toWire } from './tensors.js';

type RunRequest = Extract<Request, { kind: 'run' }>;

interface Waiting {
  readonly model: LoadedModel;
  readonly piece: SharedPiece | undefined;
  resolve(outputs: Record<string, Tensor>): void;
  reject(error: unknown): void;
}

/**
 * The caller's end of queries that another thread runs. Those that start in one turn cross in one message; inputs are copied
 * once into memory that both threads share, and what is shared already crosses as it is.
 */
export class QueryClient {
  readonly #post: (request: RunRequest) => void;
  readonly #pool = new SharedPool();
  readonly #waiting = new Map<number, Waiting>();
  #batch: WireQuery[] = [];
  #nextId = 0;
  #gone: BraidError | undefined;

  constructor(post: (request: RunRequest) => void) {
    this.#post = post;
  }

  run(
    model: LoadedModel,
    inputs: Readonly<Record<string, TensorInput>>,
    options: RunOptions,
  ): Promise<Record<string, Tensor>> {
    return new Promise((resolve, reject) => {
      if (this.#gone) throw this.#gone;
      const names = Object.keys(inputs);
      const bytes = names.reduce((sum, name) => sum + alignTensor(copiedBytes(inputs[name]!)), 0);
      const piece = bytes > 0 ? this.#pool.take(bytes) : undefined;
      let at = PIECE_START;
      const wires = names.map((name): WireTensor => {
        const known = model.inputs.findIndex((input) => input.name === name);
        const tensor = inputs[name]!;
        const { data } = tensor;
        const key = known >= 0 ? known : name;
        if (copiedBytes(tensor) === 0) return toWire(key, tensor, this.#memoryOf(data), data.byteOffset);
        copyTo(piece!.buffer, at, data);
        const wire = toWire(key, tensor, piece!.index, at);
        at = alignTensor(at + data.byteLength);
        return wire;
      });
      const id = this.#nextId++;
      this.#waiting.set(id, { model, piece, resolve, reject });
      const given = Object.keys(options).length > 0 ? options : undefined;
      const query: WireQuery = [id, model.model, given, piece?.index, wires];
      if (this.#batch.push(query) === 1) queueMicrotask(() => this.#flush());
    });
  }

  /** Memory to write a query's inputs into, which crosses as a number. */
  lend(bytes: number): LentMemory {
    return this.#pool.lend(bytes);
  }

  /** The memory of an input that is not copied; an empty one has none to send. */
  #memoryOf(data: TensorInput['data']): WireMemory {
    if (!ArrayBuffer.isView(data)) return undefined;
    if (!(data.buffer instanceof SharedArrayBuffer)) return new ArrayBuffer(0);
    return this.#pool.pieceOf(data.buffer)?.index ?? data.buffer;
  }

  #flush(): void {
    const queries = this.#batch;
    this.#batch = [];
    const { memory, forget } = this.#pool.takeNews();
    try {
      this.#post({ kind: 'run', memory, forget, queries });
    } catch {
      // Something in a query cannot be cloned: that query alone is refused.
      this.#post({ kind: 'run', memory, forget, queries: [] });
      for (const query of queries) {
        try {
          this.#post({ kind: 'run', memory: [], forget: [], queries: [query] });
        } catch (error) {
          this.#take(query[0])?.reject(error);
        }
      }
    }
  }

  hear(answers: readonly WireAnswer[]): void {
    for (const [id, outputs, message] of answers) {
      const waiting = this.#waiting.get(id);
      if (!waiting) continue;
      const { model, piece, resolve, reject } = waiting;
      if (typeof outputs === 'string') {
        reject(new BraidError(outputs, message!));
      } else {
        const answer: Record<string, Tensor> = {};
        for (const wire of outputs) {
          const { name } = model.outputs[wire[0] as number]!;
          setOwn(answer, name, readOutput(wire, piece));
        }
        resolve(answer);
      }
      this.#take(id);
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (waiting?.piece) this.#pool.give(waiting.piece);
    return waiting;
  }

  /** The other thread is gone: what waits is answered with `error`, and so is whatever comes. */
  lose(error: BraidError): void {
    this.#gone ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#gone);
    this.#waiting.clear();
  }
}

/** Bytes to copy of an input: none where its memory is shared already, or where it is no array at all. */
function copiedBytes({ data }: TensorInput): number {
  return ArrayBuffer.isView(data) && !(data.buffer instanceof SharedArrayBuffer) ? data.byteLength : 0;
}

function readOutput(wire: WireTensor, piece: SharedPiece | undefined): Tensor {
  const memory = wire[4];
  if (typeof memory !== 'number') return fromWire(wire, memory!) as Tensor;
  const tensor = fromWire(wire, piece!.buffer) as Tensor;
  // The piece goes on to other queries.
  return { ...tensor, data: tensor.data.slice() };
}
