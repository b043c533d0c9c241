import { elementwise } from '../../../shaders/elementwise.js';
import { flatWorkgroupSize } from '../../../shaders/program.js';
import { ROUNDED, type Step } from '../../compile/kernel.js';
import {
  broadcastView,
  collapse,
  deviceBytes,
  deviceType,
  elementsOf,
  storedType,
  type DeviceType,
  type View,
} from '../../compile/view.js';
import { add, evaluate, mul, product, type Dim } from '../../graph/dim.js';
import type { Scalars } from './table.js';

export interface ElementwiseCall {
  readonly name: string;
  readonly expression: string;
  readonly helpers?: string;
  readonly scalars?: Scalars;
  readonly operations?: number;
  readonly inputs: readonly View[];
  readonly output: View;
  /** Dimensions that the kernel walks at least, so that calls of more shapes share it. */
  readonly leastRank?: number;
  /** Type the output memory is written as, where it is not its own device type. */
  readonly outputType?: DeviceType;
}

/** Bytes that one pass over these views moves. A broadcast operand counts its own elements, not its repeats. */
export function trafficBytes(views: readonly View[]): Dim {
  return views.reduce<Dim>((sum, v) => {
    const own = v.shape.map((dim, i) => (v.strides[i] === 0 ? 1 : dim));
    return add(sum, mul(product(own), deviceBytes(storedType(v))));
  }, 0);
}

/** Workgroups of a kernel that walks `count` elements with a grid-stride loop. */
export function flatWorkgroups(
  count: Dim,
  workgroupSize: number,
  maximum: number,
): (bindings: ReadonlyMap<string, number>) => number {
  return (bindings) => Math.min(maximum, Math.ceil(evaluate(count, bindings) / workgroupSize));
}

/** The step for a function of corresponding elements; inputs broadcast to the output's shape. */
export function elementwiseStep(call: ElementwiseCall): Omit<Step, 'node'> {
  const { output } = call;
  const inputs = call.inputs.map((v) => broadcastView(v, output.shape));
  const space = collapse({ shape: output.shape, strides: [...inputs, output].map((v) => v.strides) });
  const count = elementsOf(output);
  const scalars = call.scalars ?? {};
  const inputTypes = inputs.map((v) => deviceType(v.dtype));
  const outputType = output.storage.type === 'f16' ? 'f16' : (call.outputType ?? deviceType(output.dtype));
  const isFloat = call.outputType === undefined && deviceType(output.dtype) === 'f32';
  const names = [...inputs.map((_, i) => 'abcdefgh'[i]!), 'out'];
  return {
    kernel: call.name,
    operands: [
      ...inputs.map((view) => ({ view, access: 'read' as const })),
      { view: output, access: 'write' as const, ...(isFloat ? { packed: ROUNDED } : {}) },
    ],
    cost: { operations: mul(count, call.operations ?? 1), bytes: trafficBytes([...inputs, output]) },
    bound: 'memory',
    detail: Object.entries(scalars)
      .map(([k, v]) => `${k}=${Number(v.toPrecision(6))}`)
      .join(' '),
    webgpu(caps) {
      const workgroupSize = flatWorkgroupSize(caps.maxWorkgroupInvocations);
      const rank = Math.max(call.leastRank ?? 1, space.shape.length);
      const padded = (dims: readonly Dim[], fill: Dim): Dim[] => [
        ...Array.from({ length: rank - dims.length }, () => fill),
        ...dims,
      ];
      const program = elementwise({
        name: call.name,
        inputs: inputTypes,
        output: outputType,
        expression: call.expression,
        helpers: call.helpers ?? '',
        scalars: Object.keys(scalars),
        rank,
        workgroupSize,
      });
      const views = [...inputs, output];
      return {
        program,
        dispatch: {
          parameters: {
            count,
            shape: padded(space.shape, 1),
            ...Object.fromEntries(Object.entries(scalars).map(([k, f32]) => [k, { f32 }])),
            ...Object.fromEntries(views.map((v, i) => [`${names[i]}_start`, { start: v }])),
            ...Object.fromEntries(views.map((_, i) => [`${names[i]}_strides`, padded(space.strides[i]!, 0)])),
          },
          workgroups: flatWorkgroups(count, workgroupSize, caps.maxWorkgroupsPerDimension),
        },
      };
    },
  };
}

/** A copy from one strided view to another of the same shape and type. Dense or not, all of a level are one dispatch. */
export function copyStep(from: View, to: View): Omit<Step, 'node'> {
  return elementwiseStep({ name: 'Copy', expression: 'a', inputs: [from], output: to, leastRank: 2 });
}
