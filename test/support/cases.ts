import { evaluateGraph, GraphBuilder, toFloat64, type Graph, type Model, type Tensor } from '../../runtime/index.js';
import type { GraphEngine } from '../../runtime/index.js';
import type { DataType } from '../../runtime/graph/dtype.js';
import type { Attribute, DeclaredDim } from '../../runtime/graph/graph.js';
import { sizeOf, tensorOf } from '../../runtime/graph/tensor.js';
import type { Operator } from '../../runtime/operators/operator.js';

/** How an operand reaches the node: as data of a query, or as a constant of the model. */
export interface Operand {
  readonly tensor: Tensor;
  /** Absent for a constant. Symbols are private to the case: cases that are merged share none. */
  readonly shape?: readonly DeclaredDim[];
}

/** An operand given as data, with the shape its input declares; all sizes fixed where none is given. */
export function data(tensor: Tensor, shape: readonly DeclaredDim[] = tensor.dims): Operand {
  return { tensor, shape };
}

/** An operand known when the model is loaded. */
export function known(tensor: Tensor): Operand {
  return { tensor };
}

/** int64 constant of rank 1: axes, shapes, starts. */
export function ints(...values: number[]): Operand {
  return known(tensorOf('int64', [values.length], values));
}

/** A float32 tensor. */
export function floats(dims: readonly number[], values: readonly number[]): Tensor {
  return tensorOf('float32', dims, values);
}

/** One call of one operator: what goes in and, where it was worked out by hand, what has to come out. */
export interface Case {
  readonly title: string;
  readonly op: string;
  /** Absent operands are undefined. */
  readonly inputs: readonly (Operand | undefined)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly opset?: number;
  /** Default: the ONNX domain. */
  readonly domain?: string;
  /** Number of outputs. Default 1. */
  readonly outputs?: number;
  /** Hand-written results, which both the reference and the device have to give. */
  readonly expected?: readonly Tensor[];
  readonly rtol?: number;
  readonly atol?: number;
}

export const RTOL = 1e-4;
export const ATOL = 1e-5;

/** A case as a graph of one node, and the inputs of a query. `prefix` keeps the values of merged cases apart. */
function build(c: Case, prefix: string): { graph: Graph; inputs: Map<string, Tensor> } {
  const builder = new GraphBuilder(c.title, c.opset ?? 17);
  const inputs = new Map<string, Tensor>();
  const names = c.inputs.map((operand, i) => {
    if (!operand) return '';
    const name = `${prefix}in${i}`;
    if (!operand.shape) return builder.constant(name, operand.tensor);
    inputs.set(name, operand.tensor);
    const shape = operand.shape.map((d) => (typeof d === 'string' ? `${prefix}${d}` : d));
    return builder.input(name, operand.tensor.dtype, shape);
  });
  const outputs = Array.from({ length: c.outputs ?? 1 }, (_, i) => `${prefix}out${i}`);
  builder.op(c.op, names, c.attributes ?? {}, { outputs, name: `${prefix}${c.title}`, domain: c.domain ?? '' });
  // The types of outputs are inferred; what a graph declares of them is not read.
  for (const name of outputs) builder.output(name, 'float32');
  return { graph: builder.build(), inputs };
}

/** What is wrong with `found`, or undefined. */
export function difference(
  found: Tensor,
  expected: { dtype: DataType; dims: readonly number[]; data: ArrayLike<number> },
  rtol = RTOL,
  atol = ATOL,
): string | undefined {
  if (found.dtype !== expected.dtype) return `type ${found.dtype}, expected ${expected.dtype}`;
  if (found.dims.join() !== expected.dims.join())
    return `shape [${found.dims.join()}], expected [${expected.dims.join()}]`;
  const values = toFloat64(found);
  if (values.length !== expected.data.length) return `${values.length} elements, expected ${expected.data.length}`;
  const exact = !expected.dtype.includes('float');
  for (let i = 0; i < values.length; i++) {
    const [f, e] = [values[i]!, expected.data[i]!];
    if (Object.is(f, e) || f === e) continue;
    // A comparison that NaN fails, on purpose.
    if (Math.abs(f - e) <= (exact ? 0 : atol + rtol * Math.abs(e)) && Number.isFinite(e)) continue;
    return `element ${i}: found ${f}, expected ${e}`;
  }
  return undefined;
}

/** Runs `cases` on the float64 reference; one line for every result that is not the hand-written one. */
export function referenceProblems(cases: readonly Case[]): string[] {
  return cases.flatMap((c) => {
    const { graph, inputs } = build(c, '');
    const results = [...evaluateGraph(graph, inputs).values()];
    return (c.expected ?? []).flatMap((e, i) => {
      const { dtype, dims, data } = results[i]!;
      const found: Tensor = { dtype, dims, data: tensorOf('float64', dims, data).data };
      // The reference holds every type in doubles; what it says the type is counts.
      const problem =
        difference({ ...found, dtype: 'float64' }, { ...e, dtype: 'float64', data: toFloat64(e) }, 1e-5, 1e-6) ??
        (dtype === e.dtype ? undefined : `type ${dtype}, expected ${e.dtype}`);
      return problem ? [`${c.op} ${c.title}: ${problem}`] : [];
    });
  });
}

/**
 * Runs `cases` on the device and compares with the float64 reference, and with the hand-written results where a case has
 * them. All cases go into one graph, a node and its outputs each: a pipeline is made once for all that share it.
 * @returns one line for every wrong result.
 */
export async function deviceProblems(engine: GraphEngine, cases: readonly Case[]): Promise<string[]> {
  const built = cases.map((c, i) => build(c, `${i}/`));
  const merged: Graph = {
    name: 'cases',
    inputs: built.flatMap((b) => b.graph.inputs),
    outputs: built.flatMap((b) => b.graph.outputs),
    nodes: built.flatMap((b) => b.graph.nodes),
    constants: new Map(built.flatMap((b) => [...b.graph.constants])),
    notices: [],
  };
  const model = await engine.load(merged);
  try {
    const found = await model.run(Object.fromEntries(built.flatMap((b) => [...b.inputs])));
    return built.flatMap(({ graph, inputs }, i) => {
      const c = cases[i]!;
      const reference = [...evaluateGraph(graph, inputs)];
      return reference.flatMap(([name, expected], o) => {
        const hand = c.expected?.[o];
        const problem =
          difference(found[name]!, expected, c.rtol, c.atol) ??
          (hand && difference(found[name]!, { ...hand, data: toFloat64(hand) }, c.rtol, c.atol));
        return problem ? [`${c.op} ${c.title}: ${problem}`] : [];
      });
    });
  } finally {
    await model.dispose();
  }
}

/** Runs `graph` on the device and compares every output with the reference. */
export async function graphProblems(
  model: Model,
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
  rtol = RTOL,
  atol = ATOL,
): Promise<string[]> {
  const found = await model.run(inputs);
  return [...evaluateGraph(graph, new Map(Object.entries(inputs)))].flatMap(([name, expected]) => {
    const problem = difference(found[name]!, expected, rtol, atol);
    return problem ? [`${name}: ${problem}`] : [];
  });
}

/** Names of the operators that `cases` leave out, and of those that are not in the family. */
export function uncovered(family: readonly Pick<Operator, 'type'>[], cases: readonly Case[]): string[] {
  const tested = new Set(cases.map((c) => c.op));
  const types = new Set(family.map((o) => o.type));
  return [...[...types].filter((t) => !tested.has(t)), ...[...tested].filter((t) => !types.has(t))];
}

/** Seed of the random cases: fixed, so that a run can be repeated; BRAID_TEST_SEED sets another. */
export const SEED = Number(process.env['BRAID_TEST_SEED'] ?? 20_250_817);

/** A small seeded generator (mulberry32) with what cases are made of. */
export class Random {
  #state: number;

  constructor(seed = SEED) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** An integer from `least` to `most`, both included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items];
    return items.map(() => left.splice(this.int(0, left.length - 1), 1)[0]!);
  }

  /** Sizes, mostly odd and small; now and then 1. */
  dims(rank: number, most = 6): number[] {
    return Array.from({ length: rank }, () => this.int(1, most));
  }

  /** `dims` with some dimensions 1 and perhaps the leading ones left out: what broadcasts to `dims`. */
  broadcastable(dims: readonly number[]): number[] {
    return dims.slice(this.int(0, dims.length)).map((d) => (this.next() < 0.3 ? 1 : d));
  }

  /** Values in [least, most). Integers for types that hold nothing else. */
  tensor(dtype: DataType, dims: readonly number[], least = -2, most = 2): Tensor {
    const value = (): number => {
      if (dtype === 'bool') return this.int(0, 1);
      const v = least + this.next() * (most - least);
      return dtype.includes('float') ? v : Math.floor(v);
    };
    return tensorOf(dtype, dims, Array.from({ length: sizeOf(dims) }, value));
  }

  floats(dims: readonly number[], least = -2, most = 2): Tensor {
    return this.tensor('float32', dims, least, most);
  }
}

/** The first dimension by a symbol: rows. */
export function rowsOf(tensor: Tensor): Operand {
  return data(tensor, ['rows', ...tensor.dims.slice(1)]);
}

/** Every dimension by a symbol of its own, or by the names given. */
export function symbolic(tensor: Tensor, names = tensor.dims.map((_, i) => `d${i}`)): Operand {
  return data(tensor, names);
}
