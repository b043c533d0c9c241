import { deviceType, type DeviceType } from '../../compile/view.js';
import type { NodeContext } from '../operator.js';
import { ELEMENTWISE, type Scalars } from './table.js';
import { arithmeticType, variantName } from './types.js';

/** An elementwise operator as a part of a larger kernel: what it computes, apart from where its arguments come from. */
export interface LinkFunction {
  readonly name: string;
  readonly expression: string;
  readonly helpers: string;
  readonly scalars: Scalars;
  readonly operations: number;
  readonly arguments: readonly DeviceType[];
  readonly result: DeviceType;
}

const ENTRIES = new Map(ELEMENTWISE.map((e) => [e.type, e]));

/** Tests of bits that a compiler may not see through once they stand behind arithmetic: WGSL may assume no NaN. */
const APART = new Set(['IsNaN', 'IsInf']);

function isWord(type: DeviceType): boolean {
  return type !== 'i64';
}

function whereFunction(context: NodeContext): LinkFunction | undefined {
  const [x, y] = [deviceType(context.input(1).dtype), deviceType(context.input(2).dtype)];
  if (x !== y || !isWord(x)) return undefined;
  const select = { expression: 'select(c, b, a != 0u)', helpers: '', scalars: {}, operations: 1 };
  return { name: 'Where', ...select, arguments: ['u32', x, x], result: x };
}

/** The node's function, where it is elementwise, on words, and has as many inputs as its expression. */
export function linkFunction(context: NodeContext): LinkFunction | undefined {
  const { node, inputCount } = context;
  if (node.domain !== '' || APART.has(node.op)) return undefined;
  if (node.op === 'Where') return whereFunction(context);
  const entry = ENTRIES.get(node.op);
  if (!entry || entry.averages || inputCount !== (entry.inputs === 'variadic' ? 2 : entry.inputs)) return undefined;
  const { dtype } = context.input(0);
  const type = deviceType(dtype);
  const dtypes = Array.from({ length: inputCount }, (_, i) => context.input(i).dtype);
  const expression = entry.wgsl[arithmeticType(dtype)];
  const isPlain = isWord(type) && variantName('', dtype) === '' && dtypes.every((t) => deviceType(t) === type);
  if (!isPlain || expression === undefined) return undefined;
  return {
    name: node.op,
    expression,
    helpers: entry.helpers ?? '',
    scalars: entry.scalars?.(context.attributes) ?? {},
    operations: entry.operations ?? 1,
    arguments: dtypes.map(() => type),
    result: entry.result === 'bool' ? 'u32' : type,
  };
}
