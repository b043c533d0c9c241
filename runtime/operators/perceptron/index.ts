import { MULTIPROCESSORS, type WebGpuProgram } from '../../../shaders/program.js';
import { perceptron, perceptronBytes } from '../../../shaders/perceptron.js';
import {
  blockedPerceptron,
  blockedPerceptronBytes,
  fitsBlockedPerceptron,
  isPiecewise,
} from '../../../shaders/perceptron_blocked.js';
import { blockThreads, type RegisterBlock } from '../../../shaders/register_sums.js';
import { fitsRegisters, HALVES_THREADS, halvesBytes, perceptronHalves } from '../../../shaders/perceptron_halves.js';
import { fitsUnits, NATIVE_ROWS, nativePerceptron, nativeThreads } from '../../../shaders/perceptron_native.js';
import {
  activationScalar,
  type PerceptronForm as ProgramForm,
  type PerceptronLayer,
} from '../../../shaders/perceptron_parts.js';
import {
  ROUNDED,
  unitsOf,
  type Alternative,
  type DeviceCaps,
  type Step,
  type StepKernel,
} from '../../compile/kernel.js';
import type { Lowering } from '../../compile/lowering.js';
import {
  broadcastView,
  collapse,
  liesInEights,
  liesInFours,
  nonEmpty,
  reshapeView,
  type View,
} from '../../compile/view.js';
import { evaluate, mul, product, type Bindings, type Dim } from '../../graph/dim.js';
import { chainCode, type Chain } from '../elementwise/chain.js';
import { trafficBytes } from '../elementwise/kernel.js';
import { fusedOperator } from '../fused.js';
import { addedOf, finishForm, finishOf, othersOf } from '../matmul/finish.js';
import type { Operator } from '../operator.js';

/** A layer of a perceptron; the functions of a hidden one read its elements alone. */
export interface Layer {
  readonly k: number;
  readonly n: number;
  readonly chain: Chain;
}

/** As what WebGPU's kernels multiply, or on the matrix units of CUDA, as those are asked to. */
export type PerceptronProducts = 'float32' | 'float16' | 'units';

export interface PerceptronForm {
  readonly layers: readonly Layer[];
  /** As what they multiply, which decides how the parameters lie. */
  readonly products: PerceptronProducts;
  /** Added to the variance of a row where its results are normalized. */
  readonly epsilon?: number;
}

const THREADS = 256;
/** Rows of a workgroup: few, for weights come from the cache at the rate that parts of a sum ask for them. */
const ROWS = 4;
/** Rows of a workgroup that normalizes, at most, and how many workgroups have to come of them. */
const [MOST_ROWS, FILLED] = [32, 264];
/** Rows of a workgroup in float16, and how many workgroups have to come of the larger. */
const HALVES_ROWS = [64, 32, 16];
const HALVES_FILLED = 100;
/** An H100's multiprocessor has workgroup memory for two workgroups of so much: the largest gives way to one that fits twice. */
const TWICE_BYTES = 24 * 1024;
/** On CUDA's matrix units: how many blocks have to come of the larger. */
const UNITS_FILLED = 100;

interface Cut {
  readonly rows: number;
  readonly threads: number;
  /** Workgroups that have to come of it; of the smallest cut, any number may. */
  readonly filled: number;
}

/** How rows are dealt to workgroups, larger ones first; empty where a workgroup cannot take any. */
export function cutsOf(
  layers: readonly Pick<Layer, 'k' | 'n'>[],
  normalizes: boolean,
  products: PerceptronProducts,
  caps: DeviceCaps,
): readonly Cut[] {
  if (products === 'float16') {
    const cuts = HALVES_ROWS.map((rows): Cut => ({ rows, threads: HALVES_THREADS, filled: HALVES_FILLED }));
    const bytes = ({ rows }: Cut): number => halvesBytes(layers, normalizes, rows);
    const fitting = cuts.filter(
      (cut) =>
        cut.threads <= caps.maxWorkgroupInvocations &&
        fitsRegisters(layers, cut.rows) &&
        bytes(cut) <= caps.maxWorkgroupBytes,
    );
    const [largest, next] = fitting;
    const isTwice = largest && next && bytes(largest) > TWICE_BYTES && bytes(next) <= TWICE_BYTES;
    return isTwice && largest.rows === HALVES_ROWS[0] ? fitting.slice(1) : fitting;
  }
  if (products === 'units') {
    if (!fitsUnits(layers, normalizes, caps.tf32?.workgroupBytes ?? 0)) return [];
    return NATIVE_ROWS.map((rows): Cut => ({ rows, threads: nativeThreads(rows), filled: UNITS_FILLED }));
  }
  const threads = Math.min(THREADS, caps.maxWorkgroupInvocations);
  const { n } = layers.at(-1)!;
  const cuts = normalizes
    ? [MOST_ROWS, MOST_ROWS / 2, MOST_ROWS / 4].map((rows): Cut => ({
        rows,
        // Twice as many as the last layer has work for where another is wider.
        threads: (n / 4) * (rows / 4) * (layers.length > 1 ? 2 : 1),
        filled: FILLED,
      }))
    : [{ rows: ROWS, threads, filled: FILLED }];
  return cuts
    .filter(
      (cut) => cut.threads <= threads && perceptronBytes({ layers, ...cut, normalizes }) <= caps.maxWorkgroupBytes,
    )
    .slice(0, 2);
}

/** Rows of a workgroup that computes blocks, and how many invocations have to come of it; fewer where rows are normalized. */
const BLOCKED_ROWS = [64, 32];
const [BLOCKED_FILLED, NORMALIZED_FILLED] = [100 * 256, 80 * 128];
/** Fewest invocations side by side, most of a workgroup, and fewest columns of one. */
const [LEAST_ACROSS, MOST_THREADS, LEAST_COLUMNS] = [8, 256, 4];

/** How many rows are dealt to workgroups in float32, larger ones first; empty where a workgroup cannot take any. */
export function blockedCutsOf(
  layers: readonly Pick<Layer, 'k' | 'n'>[],
  normalizes: boolean,
  caps: DeviceCaps,
): readonly RegisterBlock[] {
  const kept = isPiecewise(layers, normalizes) ? layers.slice(1) : layers;
  const widest = Math.max(...kept.map(({ n }) => n));
  const wanted = Math.max(LEAST_ACROSS, 2 ** Math.ceil(Math.log2(widest / LEAST_COLUMNS)));
  return BLOCKED_ROWS.map((rows): RegisterBlock => {
    const most = MOST_THREADS / blockThreads({ rows, across: 1 });
    return { rows, across: Math.min(wanted, most) };
  }).filter(
    (cut) =>
      blockThreads(cut) <= caps.maxWorkgroupInvocations &&
      fitsBlockedPerceptron(layers, normalizes, cut) &&
      blockedPerceptronBytes(layers, normalizes, cut) <= caps.maxWorkgroupBytes,
  );
}

/** How many workgroups of so many rows there are at given sizes, at most `most`. */
type WorkgroupsOf = (cut: { readonly rows: number }, most?: number) => (bindings: Bindings) => number;

interface PerceptronCall extends PerceptronForm {
  readonly x: View;
  readonly weights: View;
  readonly output: View;
  readonly addend?: View;
  readonly others: readonly View[];
  readonly finish?: ReturnType<typeof finishOf>['finish'];
}

function perceptronStep(call: PerceptronCall): Omit<Step, 'node'> {
  const { layers, products, x, weights, output, addend, others, finish, epsilon } = call;
  const read: [string, View][] = [
    ...(addend ? [['addend', addend] as [string, View]] : []),
    ...others.map((view, i): [string, View] => [`other${i}`, view]),
  ];
  const operands: [string, View][] = [['x', x], ['out', output], ...read];
  const space = collapse({
    shape: output.shape.slice(0, -1),
    strides: operands.map(([, v]) => v.strides.slice(0, -1)),
  });
  const m = product(space.shape);
  const hidden = layers
    .slice(0, -1)
    .map(({ chain }) => chain.length > 0 && chainCode(chain, [{ of: 'result', type: 'f32' }]));
  const written = layers.map(({ k, n }, i): PerceptronLayer => {
    const code = hidden[i];
    return { k, n, ...(code ? { activation: { ...code, scalars: Object.keys(code.scalars) } } : {}) };
  });
  const scalars: Record<string, number> = { ...finish?.scalars };
  hidden.forEach((code, i) => {
    for (const [name, value] of Object.entries(code ? code.scalars : {})) scalars[activationScalar(i, name)] = value;
  });
  const normalizes = epsilon !== undefined;
  const isInFours = ([, view]: [string, View]): boolean => liesInFours(view);
  // Columns of all that the last layer reads and writes.
  const outFours = layers.at(-1)!.n % 4 === 0 && operands.slice(1).every(isInFours);
  const inFours = layers[0]!.k % 4 === 0 && isInFours(operands[0]!);
  const isHalves = products === 'float16';
  const takesHalves = isHalves && layers[0]!.k % 8 === 0 && liesInEights(x);
  const multiplied = layers.reduce((sum, { k, n }) => sum + 2 * k * n, 0);
  const kernelOf = (
    caps: DeviceCaps,
    mostWorkgroups: number,
    made: (form: ProgramForm, cut: Cut) => WebGpuProgram,
    larger: (form: ProgramForm, caps: DeviceCaps, workgroups: WorkgroupsOf) => readonly Alternative[] = () => [],
  ): StepKernel => {
    const cuts = cutsOf(layers, normalizes, products, caps);
    const form = {
      layers: written,
      hasAddend: addend !== undefined,
      normalizes,
      rank: Math.max(1, space.shape.length),
      ...finishForm(finish, others),
    };
    const workgroups: WorkgroupsOf =
      ({ rows }, most = mostWorkgroups) =>
      (bindings) =>
        Math.min(most, Math.ceil(evaluate(m, bindings) / rows));
    const least = cuts.at(-1)!;
    return {
      program: made(form, least),
      dispatch: {
        parameters: {
          m,
          weights_start: { start: weights },
          ...(normalizes ? { epsilon: { f32: epsilon } } : {}),
          shape: nonEmpty(space.shape, 1),
          ...Object.fromEntries(Object.entries(scalars).map(([name, f32]) => [name, { f32 }])),
          ...Object.assign(
            {},
            ...operands.map(([name, v], i) => ({
              [`${name}_start`]: { start: v },
              [`${name}_column`]: v.strides.at(-1)!,
              [`${name}_strides`]: nonEmpty(space.strides[i]!, 0),
            })),
          ),
        },
        workgroups: workgroups(least),
        alternatives: [
          ...larger(form, caps, workgroups),
          ...cuts.slice(0, -1).map((cut): Alternative => ({
            program: made(form, cut),
            workgroups: workgroups(cut),
            suits: (bindings) => workgroups(cut, Number.POSITIVE_INFINITY)(bindings) >= cut.filled,
          })),
        ],
      },
    };
  };
  const blockedOf = (form: ProgramForm, caps: DeviceCaps, workgroups: WorkgroupsOf): readonly Alternative[] => {
    const filled = normalizes ? NORMALIZED_FILLED : BLOCKED_FILLED;
    const cuts = products === 'float32' ? blockedCutsOf(layers, normalizes, caps) : [];
    return cuts.map((cut) => ({
      program: blockedPerceptron({ ...form, inFours, outFours, block: cut }),
      workgroups: workgroups(cut),
      suits: (bindings) => workgroups(cut)(bindings) * blockThreads(cut) >= filled,
    }));
  };
  return {
    kernel: finish ? `Perceptron+${finish.name}` : 'Perceptron',
    operands: [
      { view: x, access: 'read', ...(takesHalves ? { packed: ROUNDED } : {}) },
      { view: weights, access: 'read' },
      ...read.map(([, view]) => ({ view, access: 'read' as const })),
      { view: output, access: 'write', ...(isHalves && outFours ? { packed: ROUNDED } : {}) },
    ],
    cost: { operations: mul(m, multiplied), bytes: trafficBytes([x, weights, output, ...read.map(([, v]) => v)]) },
    bound: 'arithmetic',
    detail: `m=${m} ${[layers[0]!.k, ...layers.map((l) => l.n)].join('-')}${normalizes ? ' normalized' : ''}`,
    webgpu(caps) {
      if (products === 'units') throw new Error('a perceptron on matrix units has no kernel for WebGPU');
      return kernelOf(
        caps,
        caps.maxWorkgroupsPerDimension,
        (form, { rows, threads }) =>
          products === 'float16'
            ? perceptronHalves({
                ...form,
                inFours,
                outFours,
                inHalves: x.storage.type === 'f16',
                outHalves: output.storage.type === 'f16',
                rows,
              })
            : perceptron({ ...form, vectors: normalizes && outFours, rows, threads }),
        blockedOf,
      );
    },
    cuda(caps) {
      if (products !== 'units') return undefined;
      const { halves } = unitsOf(caps);
      return kernelOf(caps, MULTIPROCESSORS, (form, { rows }) => nativePerceptron({ ...form, outFours, rows, halves }));
    },
  };
}

/**
 * Perceptron(X, parameters, addend, others..): linear layers over the last dimension, functions between them; the last
 * one finishes as a product does, and its rows are normalized where there is an epsilon. The parameters lie as
 * shaders/perceptron.ts has them. What compile/perceptron.ts makes; no model has it.
 */
export function perceptronOperator(form: PerceptronForm): Operator {
  return fusedOperator('Perceptron', (lowering: Lowering) => {
    const { k } = form.layers[0]!;
    const { n } = form.layers.at(-1)!;
    const target = lowering.output(0);
    const rows: readonly Dim[] = target.shape.slice(0, -1);
    const over = (view: View, width: number): View =>
      reshapeView(view, [...rows, width]) ?? reshapeView(lowering.dense(view), [...rows, width])!;
    const addend = addedOf(lowering, 2, [...rows, n]);
    const given = over(lowering.view(0), k);
    // Kernels of matrix units read four features at a time.
    const x = form.products === 'units' && !liesInFours(given) ? lowering.dense(given) : given;
    lowering.emit(
      perceptronStep({
        ...form,
        x,
        weights: lowering.view(1),
        output: target,
        ...(addend ? { addend: broadcastView(addend, [...rows, n]) } : {}),
        others: othersOf(lowering, [...rows, n]),
        ...finishOf(lowering),
      }),
    );
  });
}
