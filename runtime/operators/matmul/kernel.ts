import { DIRECT_WORKGROUP, matMul, ROWS_WORKGROUP, type MatMulTile } from '../../../shaders/matmul.js';
import { blockedBytes, type BlockedTile } from '../../../shaders/matmul_blocked.js';
import { hopperTileBytes, type HopperTile } from '../../../shaders/matmul_hopper.js';
import type { OuterTile } from '../../../shaders/matmul_outer.js';
import { nativeTileBytes, type NativeTile } from '../../../shaders/matmul_native.js';
import { subgroupBytes, type SubgroupTile } from '../../../shaders/matmul_subgroup.js';
import type { WebGpuProgram } from '../../../shaders/program.js';
import {
  productsOf,
  ROUNDED,
  unitsOf,
  usesMatrixUnits,
  type DeviceCaps,
  type KernelTarget,
  type Operand,
  type ParameterValue,
  type Repacked,
  type Step,
  type StepKernel,
} from '../../compile/kernel.js';
import { isAligned, liesInEights, type Storage, type View } from '../../compile/view.js';
import { divideExact, equal, evaluate, mul, product, type Bindings, type Dim } from '../../graph/dim.js';
import { trafficBytes } from '../elementwise/kernel.js';
import type { ChainCode } from '../elementwise/chain.js';
import { finishForm } from './finish.js';
import { libraryProduct } from './library.js';
import { measuredChoice } from './measured.js';
import { areVectors, blocked, loadsOf, outer, raggedLoadsOf, staged, subgroup, type TileChoice } from './tiles.js';

/** A batched product whose batch dimensions have been merged to two. */
export interface MatMulCall {
  readonly name: string;
  /** [outer, inner, m, k], [outer, inner, k, n], [outer, inner, m, n]. */
  readonly a: View;
  readonly b: View;
  readonly output: View;
  /** Broadcast to the output's shape. */
  readonly bias?: View;
  readonly alpha: number;
  readonly beta: number;
  /**
   * Scales a second matrix, `gap` elements behind B, by a line of k, [outer, inner, 1, k], and adds it to B: another B for
   * each batch, which never lies in memory.
   */
  readonly modulator?: { readonly view: View; readonly gap: Dim };
  /** Where elements are stored: `places` as the kernel takes them, `written` the memory that gets them. */
  readonly picks?: { readonly places: View; readonly written: View };
  /** What `finish` reads beside the elements, broadcast to the output's shape. */
  readonly others: readonly View[];
  /** A function of the finished elements and of `others`. */
  readonly finish?: ChainCode;
}

const TILES = {
  direct: { kind: 'direct', threadM: 8, threadN: 4 },
  /** One row of a product: a line of weights for values that lie below each other. */
  line: { kind: 'direct', threadM: 1, threadN: 1 },
  directLine: { kind: 'direct', threadM: 1, threadN: 4 },
  directThin: { kind: 'direct', threadM: 4, threadN: 1 },
} satisfies Record<string, MatMulTile>;

/** What tiles are counted in. */
const REFERENCE_TILE = staged([64, 64, 16], [4, 4], 1, { a: 'words', b: 'words' });

/**
 * Below FEW_TILES of 64x64 a GPU is not filled, below FEWEST_TILES not even by smaller ones; from MANY_TILES on larger ones
 * pay. Measured on an H100 (docs/performance.md).
 */
const FEWEST_TILES = 48;
const FEW_TILES = 132;
const MANY_TILES = 512;
/** The same for tiles of outer products: 64x64 by more invocations, by fewer, and larger ones. */
const [FEW_OUTER_TILES, MANY_OUTER_TILES, MOST_TILES] = [100, 400, 768];

/** So few rows or columns that an element of the other operand serves few operations. */
function isThin(dim: Dim): boolean {
  return typeof dim === 'number' && dim <= 4;
}

/** Lanes for a row of k elements: each takes a few of them. */
function lanesFor(k: Dim): number {
  return typeof k === 'number' && k <= 64 ? 8 : 32;
}

/** A tile of half as many steps along k where a workgroup has no memory for it: WebGPU promises 16 KiB. */
function fitting(tile: BlockedTile, { maxWorkgroupBytes }: DeviceCaps): BlockedTile {
  return blockedBytes(tile) <= maxWorkgroupBytes ? tile : { ...tile, tileK: tile.tileK / 2 };
}

/**
 * Few columns: several invocations a row. One row: an invocation a column. Few columns or rows: small tiles waste less. Otherwise by what
 * fills the device: few tiles are cut along k too, for each step waits for memory and a multiprocessor has little else to do.
 */
function chooseTile(a: View, b: View, caps: DeviceCaps): TileChoice {
  const [m, k, n] = [a.shape[2]!, a.shape[3]!, b.shape[3]!];
  const most = (dim: Dim, limit: number): boolean => typeof dim === 'number' && dim <= limit;
  const only = (tile: MatMulTile): TileChoice => ({ tile, others: [] });
  const softwareTile = (): MatMulTile => {
    if (most(n, 2)) return TILES.directThin;
    return most(m, 1) ? TILES.directLine : TILES.direct;
  };
  if (caps.software) return only(softwareTile());
  if (most(n, 4)) return only({ kind: 'rows', lanes: lanesFor(k), columns: n as number });
  // Neighbouring invocations read neighbouring columns of B, all of them the same words of A.
  if (most(m, 1) && equal(b.strides[3]!, 1)) return only(TILES.line);
  const loads = loadsOf(a, b);
  if (!most(n, 63) && !most(m, 32) && loads.b === 'across' && raggedLoadsOf(a, b).a === 'along')
    return chooseOuterTile(a, b);
  if (most(n, 32) || most(m, 32)) return only(blocked([32, 32, 16], [4, 4], loads));
  // A tile of up to 64 columns is as wide as the product.
  const columns = most(n, 64) ? Math.ceil((n as number) / 4) * 4 : 64;
  if (most(k, 64)) return only(blocked([64, columns, 16], [8, 4], loads));
  const byLoads = {
    words: blocked([64, columns, 16], [8, 4], loads),
    along: fitting(blocked([64, columns, 32], [8, 4], loads), caps),
    across: blocked([64, 64, 16], [8, 8], loads),
  };
  const wide = most(n, 63) ? byLoads.words : byLoads[loads.b];
  const fewest = { tile: staged([32, 32, 64], [4, 4], 4, loads), from: 0, below: FEWEST_TILES };
  const few = { tile: blocked([64, 32, 16], [4, 4], loads), from: FEWEST_TILES, below: FEW_TILES };
  const many = { tile: blocked([128, 64, 16], [8, 8], loads), from: MANY_TILES, below: Number.POSITIVE_INFINITY };
  const isLarge = !most(n, 63) && loads.b !== 'along';
  return { tile: wide, others: [fewest, few, ...(isLarge ? [many] : [])] };
}

/** Rows of A in vectors, columns of B too: sums of outer products, but for the fewest tiles, which are cut along k where that is whole. */
function chooseOuterTile(a: View, b: View): TileChoice {
  const [k, n] = [a.shape[3]!, b.shape[3]!];
  const of = (size: readonly [number, number, number], registers: readonly [number, number]): OuterTile =>
    outer(size, registers, k, 'along');
  const tile = of([64, 64, 16], [8, 8]);
  const loads = loadsOf(a, b);
  const isDeep = typeof k !== 'number' || k > 64;
  const isWide = typeof n !== 'number' || n >= 128;
  const fewest = isDeep && loads.a === 'along' ? staged([32, 32, 64], [4, 4], 4, loads) : of([32, 32, 32], [4, 4]);
  const most = { tile: of([128, 64, 8], [8, 8]), from: MOST_TILES, below: Number.POSITIVE_INFINITY };
  return {
    tile,
    others: [
      { tile: fewest, from: 0, below: FEWEST_TILES },
      { tile: of([32, 64, 32], [4, 4]), from: FEWEST_TILES, below: FEW_OUTER_TILES },
      { tile: of([64, 64, 16], [8, 4]), from: FEW_OUTER_TILES, below: MANY_OUTER_TILES },
      ...(isWide ? [most] : []),
    ],
  };
}

/** Fewest columns and rows of a product that is worth matrices of 16 x 16. */
const FEWEST_FOR_HALVES = 16;
/** From so many tiles of 64x64 on, which a device has no room for at once, larger ones pay. */
const MANY_HALF_TILES = 2 * FEW_TILES;

/** Whether a product is worth matrix units of float16. */
function isWorthHalves(a: View, b: View): boolean {
  const few = (dim: Dim): boolean => typeof dim === 'number' && dim < FEWEST_FOR_HALVES;
  return !few(a.shape[2]!) && !few(b.shape[3]!);
}

/** Tiles of halves; as in float32 where there are few rows or columns. */
function chooseHalfTile(a: View, b: View, caps: DeviceCaps): TileChoice {
  if (!isWorthHalves(a, b)) return chooseTile(a, b, caps);
  const [k, n] = [a.shape[3]!, b.shape[3]!];
  const loads = raggedLoadsOf(a, b);
  const isEights =
    loads.b === 'across' ? liesInEights(b) && divideExact(n, 8) !== undefined : isAligned(b, [0, 1, 3], 8);
  const of = (size: readonly [number, number, number], each: readonly [number, number]): SubgroupTile =>
    subgroup(size, each, k, { ...loads, bRun: isEights ? 8 : 4 });
  const many = { from: MANY_HALF_TILES, below: Number.POSITIVE_INFINITY };
  const some = { tile: of([128, 64, 32], [64, 32]), ...many };
  // A wide tile where little of the last one lies behind the result's edge.
  const isWide = typeof n !== 'number' || Math.ceil(n / 128) * 128 <= 1.2 * n;
  const large = { tile: of([128, 128, 32], [64, 64]), ...many };
  const fits = (tile: SubgroupTile): boolean => subgroupBytes(tile) <= caps.maxWorkgroupBytes;
  const fitting = [...(isWide ? [large] : []), some].find(({ tile }) => fits(tile));
  // Long steps for a long sum: there is little beside one workgroup to wait with it.
  const isLong = typeof k !== 'number' || k >= 256;
  const [long, short] = [of([64, 64, 64], [32, 32]), of([64, 64, 32], [32, 32])];
  return { tile: isLong && fits(long) ? long : short, others: fitting ? [fitting] : [] };
}

/** Fewest columns, and steps of a sum, of a product that is worth matrix units. */
const FEWEST_FOR_UNITS = 8;

/** Tiles for matrix units, largest first, by how many of them fill a device. */
function nativeTiles(a: View, b: View, workgroupBytes: number, halves: boolean): TileChoice | undefined {
  const [m, k, n] = [a.shape[2]!, a.shape[3]!, b.shape[3]!];
  const few = (dim: Dim): boolean => typeof dim === 'number' && dim < FEWEST_FOR_UNITS;
  if (few(m) || few(k) || few(n)) return undefined;
  const loads = loadsOf(a, b);
  const fitting = (tile: Omit<NativeTile, 'kind' | 'stages' | 'a' | 'b' | 'bAlong' | 'halves'>): NativeTile => {
    const deep: NativeTile = { kind: 'native', ...tile, ...loads, bAlong: equal(b.strides[2]!, 1), halves, stages: 3 };
    return nativeTileBytes(deep) <= workgroupBytes ? deep : { ...deep, stages: 2 };
  };
  const small = fitting({ tileM: 64, tileN: 64, warpM: 32, warpN: 32 });
  const tall = fitting({ tileM: 128, tileN: 64, warpM: 32, warpN: 32 });
  const large = fitting({ tileM: 128, tileN: 128, warpM: 64, warpN: 32 });
  const isNarrow = typeof n === 'number' && n <= 64;
  const some = { tile: tall, from: 2 * FEW_TILES, below: isNarrow ? Number.POSITIVE_INFINITY : MANY_TILES };
  const many = { tile: large, from: MANY_TILES, below: Number.POSITIVE_INFINITY };
  return { tile: small, others: isNarrow ? [some] : [some, many] };
}

/** A plain matrix of known places that all batches multiply with, as lines along k that begin on multiples of 16 bytes. */
function turnedWeight(b: View, halves: boolean): Repacked | undefined {
  const [k, n] = [b.shape[2]!, b.shape[3]!];
  const isShared = [0, 1].every((d) => b.shape[d] === 1 || b.strides[d] === 0);
  const places = [b.offset, b.strides[2]!, b.strides[3]!];
  if (b.storage.kind !== 'weight' || !isShared || typeof k !== 'number' || typeof n !== 'number') return undefined;
  if (places.some((p) => typeof p !== 'number')) return undefined;
  const [type, run] = halves ? (['f16', 8] as const) : (['f32', 4] as const);
  const pitch = Math.ceil(k / run) * run;
  const storage: Storage = { ...b.storage, type, size: pitch * n };
  const from: View = { ...b, shape: [k, n], strides: b.strides.slice(2) };
  const view: View = { storage, dtype: 'float32', shape: [k, n], strides: [1, pitch], offset: 0 };
  return { operand: 1, from, view, rounds: !halves };
}

/** A matrix as batches of a product share it. */
function lifted(view: View): View {
  return { ...view, shape: [1, 1, ...view.shape], strides: [0, 0, ...view.strides] };
}

/** Tiles for groups of warps, by how many of them fill a device; undefined where a workgroup has no memory for them. */
function hopperTiles(a: View, b: View, workgroupBytes: number, halves: boolean): TileChoice | undefined {
  const [m, n] = [a.shape[2]!, b.shape[3]! as number];
  const few = (dim: Dim): boolean => typeof dim === 'number' && dim < FEWEST_FOR_UNITS;
  if (few(m) || few(a.shape[3]!) || few(n)) return undefined;
  const inFours = raggedLoadsOf(a, b).a === 'along';
  const tile = (
    [tileM, tileN]: readonly [number, HopperTile['tileN']],
    slices: number,
    stages: number,
    residents: number,
  ): HopperTile => ({ kind: 'hopper', tileM, tileN, slices, stages, residents, inFours, halves });
  // A step of float16 takes twice as many k.
  const stages = halves ? 3 : 4;
  const small = tile([64, 32], halves ? 2 : 4, 4, 1);
  const some = tile([64, 64], 1, stages, 3);
  const middle = tile([64, 128], 1, stages, 2);
  const large = tile([128, 256], 1, stages, 1);
  if ([small, some, middle, large].some((t) => hopperTileBytes(t) > workgroupBytes)) return undefined;
  // Measured on an H100; tiles wider than the product compute what nobody wants.
  const ends = [
    FEW_TILES,
    n <= 64 ? Number.POSITIVE_INFINITY : 3 * FEW_TILES,
    n < 256 ? Number.POSITIVE_INFINITY : 6 * FEW_TILES,
  ];
  const others = [some, middle, large].map((wider, i) => ({
    tile: wider,
    from: ends[i]!,
    below: ends[i + 1] ?? Number.POSITIVE_INFINITY,
  }));
  return { tile: small, others: others.filter(({ from, below }) => from < below) };
}

/** Most rows and columns of a tile that is cut to a product's own size, and most invocations for it. */
const MOST_FITTED = 256;

/** A product for each row of a batch: one tile of its own size, where a workgroup can take it, wastes nothing. */
function modulatedTile(a: View, b: View, caps: DeviceCaps): TileChoice {
  const [m, n] = [a.shape[2]!, b.shape[3]!];
  if (caps.software) return { tile: TILES.direct, others: [] };
  const loads = loadsOf(a, b);
  const rest = { a: loads.a, b: loads.b === 'across' ? loads.b : ('words' as const) };
  if (typeof m !== 'number' || typeof n !== 'number')
    return { tile: staged([64, 64, 16], [4, 4], 1, rest), others: [] };
  const [tileM, tileN] = [Math.ceil(m / 4) * 4, Math.ceil(n / 8) * 8];
  const invocations = (tileM / 4) * (tileN / 8);
  const isFitting = tileM + tileN <= MOST_FITTED && invocations <= Math.min(MOST_FITTED, caps.maxWorkgroupInvocations);
  const tile = isFitting ? staged([tileM, tileN, 16], [4, 8], 1, rest) : staged([64, 64, 16], [4, 4], 1, rest);
  return { tile, others: [] };
}

/** Few rows and columns of each batch, all of whose sizes are known: a tile of their own size, cut along k. */
function pickedTile(a: View, b: View, caps: DeviceCaps): TileChoice {
  if (caps.software) return { tile: TILES.direct, others: [] };
  const [tileM, tileN] = [a.shape[2]!, b.shape[3]!].map((d) => Math.ceil((d as number) / 4) * 4) as [number, number];
  return { tile: staged([tileM, tileN, 64], [4, 4], 4, loadsOf(a, b)), others: [] };
}

/** Workgroups that cover m x n `batches` times. */
export function workgroupsOf(tile: MatMulTile, m: number, n: number, batches: number): number {
  switch (tile.kind) {
    case 'blocked':
    case 'outer':
    case 'staged':
    case 'subgroup':
    case 'native':
    case 'hopper':
      return Math.ceil(m / tile.tileM) * Math.ceil(n / tile.tileN) * batches;
    case 'direct':
      return Math.ceil((Math.ceil(m / tile.threadM) * Math.ceil(n / tile.threadN) * batches) / DIRECT_WORKGROUP);
    case 'rows':
      return Math.ceil(m / (ROWS_WORKGROUP / tile.lanes)) * batches;
    default:
      throw new Error(`unknown cut ${JSON.stringify(tile satisfies never)}`);
  }
}

/** The step of one product. Operations: 2 m n k a batch. */
export function matMulStep(call: MatMulCall): Omit<Step, 'node'> {
  const { a, b, output, bias, modulator, picks, others: read, finish } = call;
  const [outer, inner, m, n] = output.shape as [Dim, Dim, Dim, Dim];
  const k = a.shape[3]!;
  const written = picks?.written ?? output;
  const views = [
    a,
    b,
    ...(bias ? [bias] : []),
    ...(modulator ? [modulator.view] : []),
    ...(picks ? [picks.places] : []),
    ...read,
  ];
  const place = (name: string, v: View): Record<string, ParameterValue> => ({
    [`${name}_start`]: { start: v },
    [`${name}_outer`]: v.strides[0]!,
    [`${name}_inner`]: v.strides[1]!,
    [`${name}_row`]: v.strides[2]!,
    [`${name}_column`]: v.strides[3]!,
  });
  const stored = [output, ...(bias ? [bias] : []), ...read];
  const kernelOf = ({ tile, others, countedIn }: TileChoice, target: KernelTarget, weight = b): StepKernel => {
    const library = libraryProduct(call, weight, target);
    const programOf = (cut: MatMulTile): WebGpuProgram =>
      matMul({
        tile: cut,
        hasBias: bias !== undefined,
        modulated: modulator !== undefined,
        picked: picks !== undefined,
        halves: weight.storage.type === 'f16',
        vectors: (cut.kind === 'outer' || cut.kind === 'hopper') && areVectors(n, stored),
        outFours: cut.kind === 'subgroup' && areVectors(n, [output]),
        aHalves: a.storage.type === 'f16',
        outHalves: output.storage.type === 'f16',
        ...finishForm(finish, read),
      });
    const workgroups = (cut: MatMulTile, bindings: Bindings): number => {
      const batches = evaluate(mul(outer, inner), bindings);
      return Math.min(
        target.maxWorkgroupsPerDimension,
        workgroupsOf(cut, evaluate(m, bindings), evaluate(n, bindings), batches),
      );
    };
    return {
      program: programOf(tile),
      dispatch: {
        parameters: {
          m,
          n,
          k,
          batches: mul(outer, inner),
          batch_inner: inner,
          ...place('a', a),
          ...place('b', weight),
          ...place('out', output),
          ...(bias
            ? place('bias', bias)
            : { bias_start: 0, bias_outer: 0, bias_inner: 0, bias_row: 0, bias_column: 0 }),
          alpha: { f32: call.alpha },
          beta: { f32: call.beta },
          ...(modulator ? { ...place('s', modulator.view), gap: modulator.gap } : {}),
          ...(picks ? { places_start: { start: picks.places } } : {}),
          ...Object.assign({}, ...read.map((view, i) => place(`other${i}`, view))),
          ...Object.fromEntries(Object.entries(finish?.scalars ?? {}).map(([name, f32]) => [name, { f32 }])),
        },
        ...(library ? { library } : {}),
        workgroups: (bindings) => workgroups(tile, bindings),
        alternatives: others.map((other) => ({
          program: programOf(other.tile),
          workgroups: (bindings) => workgroups(other.tile, bindings),
          suits(bindings) {
            const size =
              countedIn === 'rows'
                ? evaluate(mul(m, mul(outer, inner)), bindings)
                : workgroups(REFERENCE_TILE, bindings);
            return size >= other.from && size < other.below;
          },
        })),
      },
    };
  };
  const inHalves = !modulator && !picks && isWorthHalves(a, b);
  const rounded = (is: boolean): Pick<Operand, 'packed'> => (is ? { packed: ROUNDED } : {});
  return {
    kernel: finish ? `${call.name}+${finish.name}` : call.name,
    operands: [
      { view: a, access: 'read', ...rounded(inHalves && liesInEights(a)) },
      { view: b, access: 'read', packed: { as: 'matrix', types: ['f16'] } },
      ...views.slice(2).map((view) => ({ view, access: 'read' as const })),
      { view: written, access: 'write', ...rounded(inHalves && areVectors(n, [output])) },
    ],
    cost: { operations: mul(product([outer, inner, m, n, k]), 2), bytes: trafficBytes([...views, written]) },
    bound: isThin(m) || isThin(n) ? 'memory' : 'arithmetic',
    detail: `m=${m} n=${n} k=${k} batches=${mul(outer, inner)}`,
    webgpu(target) {
      const plain = productsOf(target) === 'float16' ? chooseHalfTile : chooseTile;
      const choose = modulator ? modulatedTile : picks ? pickedTile : plain;
      const isPlain = !modulator && !picks && plain === chooseTile;
      const measured = isPlain ? measuredChoice(a, b, stored, target) : undefined;
      return kernelOf(measured ?? choose(a, b, target), target);
    },
    cuda(target) {
      if (!usesMatrixUnits(target) || modulator || picks) return undefined;
      const { workgroupBytes, byGroups, halves } = unitsOf(target);
      const repacked = byGroups ? turnedWeight(b, halves) : undefined;
      const groups = repacked && hopperTiles(a, b, workgroupBytes, halves);
      if (groups) return { ...kernelOf(groups, target, lifted(repacked.view)), repacked };
      if (b.storage.type === 'f16') return undefined;
      const tiles = nativeTiles(a, b, workgroupBytes, halves);
      return tiles && kernelOf(tiles, target);
    },
  };
}
