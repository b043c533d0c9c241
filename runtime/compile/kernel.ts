import type { Bindings, Dim } from '../graph/dim.js';
import type { MatMulTile } from '../../shaders/matmul.js';
import type { Loads } from '../../shaders/matmul_loads.js';
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
  /**
   * CUDA's matrix units take TF32 and float16, and kernels for them may ask for so much workgroup memory. `byGroups`: groups of
   * warps multiply out of it, as compute capability 9.0 does. Absent: there are none.
   */
  readonly tf32?: { readonly workgroupBytes: number; readonly byGroups: boolean };
}

/**
 * As what the elements of matrix products are multiplied. They are summed in float32. TF32 has the range of float32 and the
 * 10 bits of float16.
 */
export const PRODUCT_PRECISIONS = ['float32', 'tf32', 'float16'] as const;
export type ProductPrecision = (typeof PRODUCT_PRECISIONS)[number];

/** A product of float32, as far as its best tile depends on it, for any number of rows. */
export interface ProductShape {
  readonly n: number;
  readonly k: number;
  /** How its operands can be read. */
  readonly a: Exclude<Loads, 'across'>;
  readonly b: Loads;
  /** Whether the result and what is added to it can be read and written in fours. */
  readonly vectors: boolean;
  /** Whether B is stored as float16. */
  readonly halves: boolean;
}

/** The tile that was fastest for m rows. */
export interface MeasuredTile {
  readonly m: number;
  readonly tile: MatMulTile;
}

/** Tiles that were measured on a device, for products that were. */
export interface MeasuredTiles {
  /** By m; undefined where the product was not measured. @param m its rows, all batches together. */
  find(shape: ProductShape, m: Dim): readonly MeasuredTile[] | undefined;
}

/** What kernels are chosen by: the device, and what a model is loaded with. */
export interface KernelTarget extends DeviceCaps {
  readonly products: ProductPrecision;
  readonly tiles?: MeasuredTiles;
}

/** Whether products run on the matrix units of CUDA, which multiply in TF32 and in float16. */
export function usesMatrixUnits({ products, tf32 }: KernelTarget): boolean {
  return products !== 'float32' && tf32 !== undefined;
}

/** What kernels on the matrix units of CUDA are made by; `halves`: products are of float16, else of TF32. */
export interface UnitsTarget {
  readonly workgroupBytes: number;
  readonly byGroups: boolean;
  readonly halves: boolean;
}

/** Of a target whose products run on them. */
export function unitsOf({ products, tf32 }: KernelTarget): UnitsTarget {
  return { ...tf32!, halves: products === 'float16' };
}

/** As what WebGPU's kernels multiply on a device: in float16 where that was asked for and the device does it. */
export function productsOf({ products, multipliesHalves }: KernelTarget): 'float32' | 'float16' {
  return products === 'float16' && multipliesHalves ? 'float16' : 'float32';
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
export type ParameterValue = Word | readonly Word[] | { readonly f32: number };
/** A word of a parameter block. */
export type Word = Dim | { readonly start: View };

/** How a step drives its program: the parameter block, and the workgroups in x. */
export interface Dispatch {
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  workgroups(bindings: Bindings): number;
  /** Other programs for the same parameters and operands; the first that suits the sizes of a wave is taken. */
  readonly alternatives?: readonly Alternative[];
  /** What a library of the device may make of it in the program's place. */
  readonly library?: LibraryProduct;
}

/**
 * [m, k] [k, n], of float32 and row by row, and a line of bias and ReLU behind it. Where operands begin say the `start`s of the
 * parameters a, b, bias and out. The pitches of rows count elements.
 */
export interface LibraryProduct {
  readonly m: Dim;
  readonly n: number;
  readonly k: number;
  readonly aPitch: number;
  readonly bPitch: number;
  readonly outPitch: number;
  /** The second matrix lies column by column. */
  readonly turned: boolean;
  readonly hasBias: boolean;
  readonly relu: boolean;
  /** Products of TF32. */
  readonly tf32: boolean;
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
  /** As what the kernel can read a weight, or read or write a value, besides as its device type. Absent: as that alone. */
  readonly packed?: PackedUse;
}

/**
 * What a weight is to a kernel, and the types that the kernel widens as it reads. A value between kernels is stored as halves
 * where whatever writes it can and all that read it round it to float16 anyway, in products of float16.
 */
export interface PackedUse {
  readonly as: 'table' | 'matrix' | 'value';
  readonly types: readonly PackedType[];
}

/** Of a value that the kernel writes, or rounds to float16 as it reads. */
export const ROUNDED: PackedUse = { as: 'value', types: ['f16'] };

/** A weight as a kernel wants it to lie, in place of an operand of its step. */
export interface Repacked {
  readonly operand: number;
  /** The matrix it is, all of whose places are known at load. */
  readonly from: View;
  /** The same elements in a storage of their own; what lies between them is zero. */
  readonly view: View;
  /** Rounds to TF32. */
  readonly rounds: boolean;
}

/** The program of a step and how it is driven. */
export interface StepKernel {
  readonly program: WebGpuProgram;
  readonly dispatch: Dispatch;
  /** On CUDA. */
  readonly repacked?: Repacked;
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
  webgpu(target: KernelTarget): StepKernel;
  /** A kernel of its own on CUDA, where it has one that suits the target; otherwise CUDA runs that of WebGPU. */
  cuda?(target: KernelTarget): StepKernel | undefined;
  /** What the step looks up, where that is whole rows of a table and nothing else. */
  readonly lookup?: RowLookup;
  /**
   * On CUDA: the step with a kernel that does these lookups itself, which write the first operand or parts of it. Undefined
   * where it has none.
   */
  absorb?(lookups: readonly RowLookup[], target: KernelTarget): AbsorbingStep | undefined;
}

/** Rows of a table of float32, each together, copied for each of the indices. */
export interface RowLookup {
  /** [rows, width]. */
  readonly table: View;
  readonly ids: View;
  /** In the shape of the indices, and the width. */
  readonly output: View;
  /** Rows that indices may name, runs of them that an error's row has, and the code of its records. */
  readonly size: Dim;
  readonly rowRuns: Dim;
  readonly code: number;
}

/** What a step becomes where its kernel does lookups. */
export interface AbsorbingStep extends Pick<Step, 'operands' | 'cost'> {
  readonly kernel: StepKernel;
}
