import type { Graph, Plan } from '../../runtime/index.js';
import { unpackedWeight } from '../../runtime/compile/packed.js';
import { isPacked } from '../../runtime/compile/view.js';

/** `graph` with the constants that `plan` stores in fewer bits as kernels read them: what the device has to compute. */
export function asStored(graph: Graph, plan: Plan): Graph {
  const constants = new Map(graph.constants);
  for (const { value, storage } of plan.program.weights) {
    const tensor = graph.constants.get(value);
    if (tensor && isPacked(storage.type)) constants.set(value, unpackedWeight(storage.type, tensor));
  }
  return { ...graph, constants };
}

/** How each constant of the graph is stored, by name; those that are stored as they are left out. */
export function storedTypes({ program }: Plan): Record<string, string> {
  return Object.fromEntries(
    program.weights.filter((w) => isPacked(w.storage.type)).map((w) => [w.value, w.storage.type]),
  );
}
