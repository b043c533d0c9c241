import { QUERY_CODES } from '../../shaders/errors.js';
import { BraidError } from '../errors.js';
import { mul, product, symbol, symbolsOf, type Dim } from '../graph/dim.js';
import type { DataType } from '../graph/dtype.js';
import { sizeOf, type Tensor } from '../graph/tensor.js';
import { copyStep } from '../operators/elementwise/kernel.js';
import { concatSlices } from '../operators/layout/concat.js';
import { fillSteps } from '../operators/shape/symbolic.js';
import { nodeLabel } from '../operators/attributes.js';
import type { Known } from '../operators/operator.js';
import type { AnalyzedGraph, AnalyzedNode } from './analyze.js';
import type { Step } from './kernel.js';
import type { Lookup, Lowering, TablePart } from './lowering.js';
import { rowFactor } from './rows.js';
import { RENAMING } from './simplify.js';
import { placement, storedBytes } from './packed.js';
import {
  denseView,
  deviceType,
  isDense,
  reshapeView,
  transposeView,
  type PackedType,
  type Storage,
  type View,
} from './view.js';

/** A constant that lives on the device. */
export interface Weight {
  readonly storage: Storage;
  readonly tensor: Tensor;
  /** Name of the value it is, or is a part of. */
  readonly value: string;
}

/** Where an output comes from: device memory, or what was known at load. */
export type OutputSource =
  | { readonly name: string; readonly kind: 'device'; readonly view: View }
  | { readonly name: string; readonly kind: 'known'; readonly known: Known; readonly shape: readonly Dim[] };

/** The steps of a plan and the memory they touch. Steps are in an order that computes every value before its use. */
export interface Program {
  readonly inputs: readonly View[];
  readonly outputs: readonly OutputSource[];
  readonly weights: readonly Weight[];
  readonly steps: readonly Step[];
  readonly lookups: readonly Lookup[];
  /** A value that kernels read and that holds the number of rows: it would be that of a whole wave. */
  readonly countsRows: string | undefined;
}

export interface LowerOptions {
  /** Largest binding of the device in bytes; larger tables are cut. */
  readonly maxBindingBytes: number;
  /** Values to store as something else than their device type; see precision.ts. */
  readonly packed?: ReadonlyMap<string, PackedType>;
  /** Elements from a row to the next of matrices that do not lie dense; see row-pitch.ts. */
  readonly pitches?: ReadonlyMap<string, number>;
}

/**
 * Where values that end up in a Concat are to be written, decided before any step is made: walking back from each
 * Concat, an input's producer writes straight into its slice, through reshapes and transposes.
 */
class Destinations {
  readonly #producers = new Map<string, AnalyzedNode>();
  readonly #views = new Map<string, View>();
  /** Values placed in each storage: a producer may not read what its result shares a buffer with. */
  readonly #members = new Map<Storage, Set<string>>();
  readonly #analyzed: AnalyzedGraph;

  constructor(analyzed: AnalyzedGraph, make: (name: string, dtype: View['dtype'], shape: readonly Dim[]) => View) {
    this.#analyzed = analyzed;
    for (const node of analyzed.nodes) for (const name of node.node.outputs) this.#producers.set(name, node);
    for (const node of [...analyzed.nodes].reverse()) {
      if (node.node.op !== 'Concat') continue;
      const [name] = node.node.outputs as [string];
      const { dtype, shape } = node.outputs[0]!;
      const result = this.#views.get(name) ?? make(name, dtype, shape);
      this.#views.set(name, result);
      concatSlices(node.context, result).forEach((slice, i) => this.#place(node.node.inputs[i]!, slice));
    }
  }

  get(name: string): View | undefined {
    return this.#views.get(name);
  }

  #place(name: string, view: View): void {
    const producer = this.#producers.get(name);
    if (!producer || this.#analyzed.known.has(name) || this.#views.has(name) || producer.node.outputs.length !== 1)
      return;
    const { node, context } = producer;
    if (RENAMING.has(node.op)) {
      const source = reshapeView(view, context.input(0).shape);
      if (source) this.#place(node.inputs[0]!, source);
      return;
    }
    if (node.op === 'Transpose') {
      const perm = node.attributes['perm'];
      if (!Array.isArray(perm)) return;
      const inverse = perm.map((_, i) => perm.indexOf(i));
      this.#place(node.inputs[0]!, transposeView(view, inverse));
      return;
    }
    const members = this.#members.get(view.storage) ?? new Set();
    const reads = node.op === 'Concat' ? new Set<string>() : this.#origins(node.inputs);
    if ([...members].some((m) => reads.has(m) || this.#readsOf(m).has(name))) return;
    members.add(name);
    this.#members.set(view.storage, members);
    this.#views.set(name, view);
  }

  /** What making `name` reads. A Concat reads nothing that lies in its place already; what does not, it copies safely. */
  #readsOf(name: string): Set<string> {
    const { node } = this.#producers.get(name)!;
    return node.op === 'Concat' ? new Set() : this.#origins(node.inputs);
  }

  /**
   * Values whose memory `names` may be windows on: everything up the chain of operators that can be views. A Concat is the
   * end of it: its result has memory of its own, or is in its place among the members.
   */
  #origins(names: readonly string[]): Set<string> {
    const origins = new Set<string>();
    const queue = [...names];
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      if (origins.has(name)) continue;
      origins.add(name);
      const producer = this.#producers.get(name);
      if (producer?.operator.aliases && producer.node.op !== 'Concat') queue.push(...producer.node.inputs);
    }
    return origins;
  }
}

class Lowerer {
  readonly #analyzed: AnalyzedGraph;
  readonly #options: LowerOptions;
  readonly #destinations: Destinations;
  readonly #views = new Map<string, View>();
  readonly #weights: Weight[] = [];
  readonly #parts = new Map<string, readonly TablePart[]>();
  readonly #steps: Step[] = [];
  readonly #lookups: Lookup[] = [];
  #countsRows: string | undefined;
  #nextStorage = 0;

  constructor(analyzed: AnalyzedGraph, options: LowerOptions) {
    this.#analyzed = analyzed;
    this.#options = options;
    this.#destinations = new Destinations(analyzed, (name, dtype, shape) => this.#result(name, dtype, shape));
  }

  run(): Program {
    const { graph, types, known } = this.#analyzed;
    const inputs = graph.inputs.map(({ name }) => {
      const { dtype, shape } = types.get(name)!;
      const view = denseView(this.#storage('input', name, dtype, product(shape)), dtype, shape);
      this.#views.set(name, view);
      return view;
    });
    for (const node of this.#analyzed.nodes) {
      node.operator.lower!(this.#loweringFor(node));
      const missing = node.node.outputs.find((name) => name !== '' && !this.#views.has(name));
      if (missing !== undefined)
        throw new BraidError('INTERNAL', `${nodeLabel(node.node)} did not produce '${missing}'`);
    }
    const outputs = graph.outputs.map(({ name }): OutputSource => {
      const value = known.get(name);
      if (value) return { name, kind: 'known', known: value, shape: types.get(name)!.shape };
      return { name, kind: 'device', view: this.#outputView(name) };
    });
    return {
      inputs,
      outputs,
      weights: this.#weights,
      steps: this.#steps,
      lookups: this.#lookups,
      countsRows: this.#countsRows,
    };
  }

  #storage(kind: Storage['kind'], name: string, dtype: DataType, size: Dim): Storage {
    return { id: this.#nextStorage++, kind, type: deviceType(dtype), size, name };
  }

  #temp(name: string, dtype: DataType, shape: readonly Dim[]): View {
    return denseView(this.#storage('temp', name, dtype, product(shape)), dtype, shape);
  }

  /** Memory for a value of the graph. */
  #result(name: string, dtype: DataType, shape: readonly Dim[]): View {
    const pitch = this.#options.pitches?.get(name);
    const size = pitch === undefined ? product(shape) : mul(shape[0]!, pitch);
    const type = this.#options.packed?.get(name) ?? deviceType(dtype);
    const view = denseView({ ...this.#storage('temp', name, dtype, size), type }, dtype, shape);
    return pitch === undefined ? view : { ...view, strides: [pitch, 1] };
  }

  /** Results are read back from dense memory that the plan owns. */
  #outputView(name: string): View {
    const view = this.#views.get(name)!;
    if (isDense(view) && view.storage.kind === 'temp') return view;
    const result = this.#temp(name, view.dtype, view.shape);
    this.#emit({ ...copyStep(view, result), node: name });
    return result;
  }

  #emit(step: Step): void {
    const written = new Set(step.operands.filter((o) => o.access === 'write').map((o) => o.view.storage));
    const clash = step.operands.find((o) => o.access === 'read' && written.has(o.view.storage));
    if (clash)
      throw new BraidError('INTERNAL', `${step.kernel} '${step.node}' reads and writes '${clash.view.storage.name}'`);
    this.#steps.push(step);
  }

  #weight(value: string, tensor: Tensor, name = value): View {
    const { dtype, dims } = tensor;
    const type = this.#options.packed?.get(value) ?? deviceType(dtype);
    const { size, offset, strides } = placement(type, dims);
    const storage: Storage = { id: this.#nextStorage++, kind: 'weight', type, size, name };
    this.#weights.push({ storage, tensor, value });
    return { storage, dtype, shape: dims, strides, offset };
  }

  #view(name: string): View {
    const existing = this.#views.get(name);
    if (existing) return existing;
    const known = this.#analyzed.known.get(name);
    if (known?.kind !== 'tensor') {
      if (!known) throw new BraidError('INTERNAL', `'${name}' is used before it is made`);
      const { dtype, dims, elements } = known.value;
      const { rows } = this.#analyzed;
      if (rows !== undefined && elements.some((e) => symbolsOf(e).has(rows))) this.#countsRows ??= name;
      const filled = this.#temp(name, dtype, dims);
      for (const step of fillSteps(elements, filled)) this.#emit({ ...step, node: name });
      this.#views.set(name, filled);
      return filled;
    }
    const view = this.#weight(name, known.tensor);
    this.#views.set(name, view);
    return view;
  }

  #partsOf(name: string): readonly TablePart[] {
    const cached = this.#parts.get(name);
    if (cached) return cached;
    const known = this.#analyzed.known.get(name);
    const tensor = known?.kind === 'tensor' ? known.tensor : undefined;
    const type = tensor && (this.#options.packed?.get(name) ?? deviceType(tensor.dtype));
    const bytes = tensor && type ? storedBytes(type, tensor.dims) : 0;
    const parts =
      tensor && bytes > this.#options.maxBindingBytes
        ? this.#cut(name, tensor, bytes)
        : [{ view: this.#view(name), first: 0, count: this.#view(name).shape[0]! }];
    this.#parts.set(name, parts);
    return parts;
  }

  #cut(name: string, table: Tensor, bytes: number): TablePart[] {
    const [rows, ...rest] = table.dims as [number, ...number[]];
    const width = sizeOf(rest);
    const rowsPerPart = Math.floor(this.#options.maxBindingBytes / (bytes / rows));
    if (rowsPerPart < 1)
      throw new BraidError('MODEL_UNSUPPORTED', `one row of table '${name}' is larger than a binding of the device`);
    return Array.from({ length: Math.ceil(rows / rowsPerPart) }, (_, i) => {
      const first = i * rowsPerPart;
      const count = Math.min(rowsPerPart, rows - first);
      const data = table.data.subarray(first * width, (first + count) * width);
      return {
        view: this.#weight(name, { dtype: table.dtype, dims: [count, ...rest], data }, `${name}[${first}..]`),
        first,
        count,
      };
    });
  }

  /** The graph inputs that a value is computed from. */
  #graphInputs(name: string): string[] {
    const { graph, sharing } = this.#analyzed;
    const seen = new Set([name]);
    for (const value of seen) {
      const producer = this.#analyzed.nodes.find((n) => n.node.outputs.includes(value));
      for (const from of producer?.node.inputs ?? [])
        if (from !== '' && !this.#analyzed.known.has(from)) seen.add(from);
    }
    return graph.inputs.map((i) => i.name).filter((input) => seen.has(input) && input !== sharing?.queryOfRow);
  }

  #loweringFor({ node, context, outputs, epilogue }: AnalyzedNode): Lowering {
    const emit = (step: Omit<Step, 'node'>): void => this.#emit({ ...step, node: node.name });
    const scratch = (name: string, dtype: DataType, shape: readonly Dim[]): View =>
      this.#temp(`${node.name}/${name}`, dtype, shape);
    const { rows, sharing } = this.#analyzed;
    const perQuery = sharing !== undefined && outputs.some(({ shape }) => rowFactor(shape, sharing.queries) !== 0);
    const counted = perQuery ? sharing.queries : rows;
    let copies = 0;
    return {
      context,
      outputs,
      epilogue,
      rows: counted === undefined ? undefined : symbol(counted),
      view: (index) => this.#view(node.inputs[index]!),
      optional: (index) => (node.inputs[index] ? this.#view(node.inputs[index]) : undefined),
      output: (index) => {
        const name = node.outputs[index]!;
        const { dtype, shape } = outputs[index]!;
        const view = this.#destinations.get(name) ?? this.#result(name, dtype, shape);
        this.#views.set(name, view);
        return view;
      },
      alias: (index, view) => this.#views.set(node.outputs[index]!, view),
      dense: (view) => {
        if (isDense(view)) return view;
        const copy = scratch(`dense${copies++}`, view.dtype, view.shape);
        emit(copyStep(view, copy));
        return copy;
      },
      scratch,
      constant: (name, value) => this.#weight(`${node.name}/${name}`, value),
      parts: (index) => this.#partsOf(node.inputs[index]!),
      check: ({ indices, table, ...lookup }) => {
        const view = this.#view(node.inputs[indices]!);
        const offset = view.storage.kind === 'input' ? view.offset : 0;
        const inputs = this.#graphInputs(node.inputs[indices]!);
        const source = inputs.length > 0 ? `input ${inputs.map((name) => `'${name}'`).join(' or ')}` : nodeLabel(node);
        const index =
          this.#lookups.push({ ...lookup, source, inputs, offset, perQuery, table: node.inputs[table]! }) - 1;
        if (index >= QUERY_CODES) throw context.unsupported(`is lookup ${index + 1}; a model may have ${QUERY_CODES}`);
        return index + (perQuery ? QUERY_CODES : 0);
      },
      emit,
    };
  }
}

/** Turns an analyzed graph into kernel steps over strided views. */
export function lower(analyzed: AnalyzedGraph, options: LowerOptions): Program {
  return new Lowerer(analyzed, options).run();
}
