import { BraidError } from '../../errors.js';
import type { DataType } from '../../graph/dtype.js';
import type { Graph, Node } from '../../graph/graph.js';
import { tensorOf, toFloat64, type Tensor } from '../../graph/tensor.js';
import { Scope, type ExpansionTarget, type Sequence } from '../../operators/composite.js';
import { ReferenceContext, type Known, type ReferenceTensor } from '../../operators/operator.js';
import { findComposite, findOperator, missingReason } from '../../operators/registry.js';
import { nodeLabel } from '../../operators/attributes.js';

export function toReference(t: Tensor): ReferenceTensor {
  return { dtype: t.dtype, dims: t.dims, data: toFloat64(t) };
}

export function fromReference(t: ReferenceTensor, dtype: DataType = t.dtype): Tensor {
  return tensorOf(dtype, t.dims, t.data);
}

/** Runs one node in float64. */
export function evaluateNode(node: Node, inputs: readonly (ReferenceTensor | undefined)[]): readonly ReferenceTensor[] {
  const operator = findOperator(node);
  if (!operator) throw new BraidError('MODEL_UNSUPPORTED', `${nodeLabel(node)}: ${missingReason(node)}`);
  return operator.reference(new ReferenceContext(node, inputs));
}

/** What was computed so far. */
interface Evaluation {
  readonly values: Map<string, ReferenceTensor>;
  readonly sequences: Map<string, Sequence>;
  readonly producers: Map<string, Node>;
}

/** Runs `node`, or what it is defined by, and adds its outputs. */
function evaluateInto(state: Evaluation, node: Node): void {
  const { values, sequences, producers } = state;
  const inputs = node.inputs.map((name) => (name === '' ? undefined : values.get(name)));
  const composite = findComposite(node);
  if (composite) {
    const target: ExpansionTarget = {
      visit: (part) => evaluateInto(state, part),
      define: (name, known) => void values.set(name, fromKnown(known)),
      type(name) {
        const { dtype, dims } = values.get(name)!;
        return { dtype, shape: dims };
      },
      known(name) {
        const value = values.get(name);
        return value && { kind: 'tensor', tensor: { dtype: 'float64', dims: value.dims, data: value.data } };
      },
      producer: (name) => producers.get(name),
      sequence: (name) => sequences.get(name),
      defineSequence: (name, sequence) => void sequences.set(name, sequence),
    };
    composite.expand(new ReferenceContext(node, inputs).shapes, new Scope(target, node));
    return;
  }
  const list = sequences.get(node.inputs[0]!);
  if (list && node.op === 'Identity') {
    sequences.set(node.outputs[0]!, list);
    return;
  }
  const results = evaluateNode(node, inputs);
  node.outputs.forEach((name, i) => {
    if (name === '' || !results[i]) return;
    values.set(name, results[i]);
    producers.set(name, node);
  });
}

function fromKnown(known: Known): ReferenceTensor {
  if (known.kind === 'tensor') return toReference(known.tensor);
  const { dtype, dims, elements } = known.value;
  return { dtype, dims, data: Float64Array.from(elements as readonly number[]) };
}

/**
 * Runs a graph in float64: the oracle of the tests. Slow, and exact up to double precision (integers up to 2^53).
 * @returns the graph's outputs by name.
 */
export function evaluateGraph(graph: Graph, inputs: ReadonlyMap<string, Tensor>): Map<string, ReferenceTensor> {
  const values = new Map<string, ReferenceTensor>();
  for (const [name, t] of [...graph.constants, ...inputs]) values.set(name, toReference(t));
  const state: Evaluation = { values, sequences: new Map(), producers: new Map() };
  for (const node of graph.nodes) evaluateInto(state, node);
  return new Map(graph.outputs.map(({ name }) => [name, values.get(name)!]));
}
