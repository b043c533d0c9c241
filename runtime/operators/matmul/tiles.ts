import type { MatMulTile } from '../../../shaders/matmul.js';
import type { BlockedTile } from '../../../shaders/matmul_blocked.js';
import type { KEdge, OuterTile } from '../../../shaders/matmul_outer.js';
import type { StagedTile } from '../../../shaders/matmul_staged.js';
import type { SubgroupTile } from '../../../shaders/matmul_subgroup.js';
import { isAligned, liesInFours, type View } from '../../compile/view.js';
import { divideExact, equal, type Dim } from '../../graph/dim.js';

/** A tile, and others for sizes from `from` to below `below`: in tiles of 64x64 that cover the result, or in its rows. */
export interface TileChoice {
  readonly tile: MatMulTile;
  readonly others: readonly { readonly tile: MatMulTile; readonly from: number; readonly below: number }[];
  /** Default: tiles. */
  readonly countedIn?: 'tiles' | 'rows';
}

/** What the layout of the operands says about how to read them. */
export type OperandLoads = Pick<StagedTile, 'a' | 'b'>;

/** What the operands allow to be read in vectors of 4. Storages begin on multiples of more than that. */
export function loadsOf(a: View, b: View): OperandLoads {
  const whole = (dim: Dim): boolean => divideExact(dim, 4) !== undefined && !equal(dim, 0);
  const [k, n] = [a.shape[3]!, b.shape[3]!];
  const aAlong = liesInFours(a) && whole(k);
  const bAlong = equal(b.strides[2]!, 1) && whole(k) && isAligned(b, [0, 1, 3]);
  const bAcross = liesInFours(b) && whole(n);
  return { a: aAlong ? 'along' : 'words', b: bAcross ? 'across' : bAlong ? 'along' : 'words' };
}

/** As loadsOf, for kernels that leave out elements past the end of k in the last four of a row. */
export function raggedLoadsOf(a: View, b: View): OperandLoads {
  return { a: liesInFours(a) ? 'along' : 'words', b: loadsOf(a, b).b };
}

/** Whether results of n columns, and what is added to them, can be stored and read in fours. A line for all rows can. */
export function areVectors(n: Dim, views: readonly View[]): boolean {
  return divideExact(n, 4) !== undefined && views.every(liesInFours);
}

export function blocked(
  [tileM, tileN, tileK]: readonly [number, number, number],
  [threadM, threadN]: readonly [number, number],
  loads: OperandLoads,
): BlockedTile {
  return { kind: 'blocked', tileM, tileN, tileK, threadM, threadN, ...loads };
}

export function staged(
  [tileM, tileN, tileK]: readonly [number, number, number],
  [threadM, threadN]: readonly [4 | 8, 4 | 8],
  slices: 1 | 4,
  loads: OperandLoads,
): StagedTile {
  return { kind: 'staged', tileM, tileN, tileK, threadM, threadN, slices, ...loads };
}

export function outer(
  [tileM, tileN, tileK]: readonly [number, number, number],
  [threadM, threadN]: readonly [number, number],
  k: Dim,
  a: OuterTile['a'],
): OuterTile {
  return { kind: 'outer', tileM, tileN, tileK, threadM, threadN, edge: edgeOf(k, tileK), a, b: 'across' };
}

export function subgroup(
  [tileM, tileN, tileK]: readonly [number, number, number],
  [subgroupM, subgroupN]: readonly [number, number],
  k: Dim,
  loads: Pick<SubgroupTile, 'a' | 'b' | 'bRun'>,
): SubgroupTile {
  return { kind: 'subgroup', tileM, tileN, tileK, subgroupM, subgroupN, edge: edgeOf(k, tileK), ...loads };
}

/** How a sum over k ends in steps of tileK. */
function edgeOf(k: Dim, tileK: number): KEdge {
  if (divideExact(k, tileK) !== undefined) return 'none';
  return divideExact(k, 4) === undefined ? 'any' : 'fours';
}
