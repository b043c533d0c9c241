import type { Bindings, Dim } from '../graph/dim.js';
import type { WebGpuProgram } from '../../shaders/program.js';
import type { PackedType, View } from './view.js';

/** Limits and abilities of a device that kernels are sized by. */
export interface DeviceCaps {
  /** The adapter computes on the CPU: barriers and long programs are dear, caches are large. */
  readonly software: boolean;
  readonly maxWorkgroupInvocations: number;
  readonly maxWorkgroupBytes: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly features: ReadonlySet<string>;
  /** Whether subgroups multiply matrices of float16 and sum them in float32, as shaders/matmul_subgroup.ts needs it. */
  readonly multipliesHalves: boolean;
}

/** As what the elements of matrix products are multiplied. They are summed in float32. */
export const PRODUCT_PRECISIONS = ['float32', 'float16'] as const;
export type ProductPrecision = (typeof PRODUCT_PRECISIONS)[number];

/** What kernels are chosen by: the device, and what a model is loaded with. */
export interface KernelTarget extends DeviceCaps {
  readonly products: ProductPrecision;
}

/** As what products are multiplied on a device: in float16 where that was asked for and the device does it. */
export function productsOf({ products, multipliesHalves }: KernelTarget): ProductPrecision {
  return multipliesHalves ? products : 'float32';
}

/** Scalar operations and bytes of memory traffic, as formulas over the symbols. Each operand counts once. */
export interface Cost {
  readonly operations: Dim;
  readonly bytes: Dim;
}

/** What a kernel is bound by; the scheduler's classes. */
export type Bound = 'memory' | 'arithmetic' | 'latency';

/**
 * A value for a field of a kernel's parameter block. Dimensions are evaluated when the rows are known; `start` is where
 * a view begins in the buffer that holds its storage, in elements.
 */
export type ParameterValue = Dim | readonly Dim[] | { readonly f32: number } | { readonly start: View };

/** How a step drives its program: the parameter block, and the workgroups in x. */
export interface Dispatch {
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  workgroups(bindings: Bindings): number;
  /** Other programs for the same parameters and operands; the first that suits the sizes of a wave is taken. */
  readonly alternatives?: readonly Alternative[];
}

/** A program for some sizes. All are compiled at load, so that no number of rows ever waits for one. */
export interface Alternative {
  readonly program: WebGpuProgram;
  suits(bindings: Bindings): boolean;
  workgroups(bindings: Bindings): number;
}

/** An operand of a step. Reads and writes decide the order of steps and the placement of storages. */
export interface Operand {
  readonly view: View;
  readonly access: 'read' | 'write';
  /** As what the kernel can read a weight besides as its device type. Absent: as that alone. */
  readonly packed?: PackedUse;
}

/** What a weight is to a kernel, and the types that the kernel widens as it reads. */
export interface PackedUse {
  readonly as: 'table' | 'matrix';
  readonly types: readonly PackedType[];
}

/** One kernel call of a plan: data, printed by `braid inspect` and by tests. */
export interface Step {
  readonly kernel: string;
  /** Name of the node it came from. */
  readonly node: string;
  readonly operands: readonly Operand[];
  readonly cost: Cost;
  readonly bound: Bound;
  /** Details that tell variants apart in the printed plan. */
  readonly detail: string;
  webgpu(target: KernelTarget): { program: WebGpuProgram; dispatch: Dispatch };
}
