import type { Dim } from '../../graph/dim.js';
import type { Composite, Scope } from '../composite.js';
import type { NodeContext } from '../operator.js';

/** The values in a sequence that is known one by one. */
function itemsOf(context: NodeContext, scope: Scope, index = 0): readonly string[] {
  const sequence = scope.sequence(context.node.inputs[index] ?? '');
  if (!sequence) throw context.invalid(`input ${index} is no sequence`);
  if ('rowsOf' in sequence) throw context.unsupported('how many values the sequence has depends on the query');
  return sequence.items;
}

/** A position, `count` where none is given, counted from the front and checked against `most`. */
function positionOf(context: NodeContext, index: number, count: number, most: number): number {
  if (!context.node.inputs[index]) return count;
  const [declared] = context.requiredInts(index, 'the position') as [number];
  const at = declared < 0 ? declared + count : declared;
  if (at < 0 || at > most) throw context.invalid(`position ${declared} is outside a sequence of ${count}`);
  return at;
}

type Expand = (context: NodeContext, scope: Scope) => void;

/** Sequences hold values that are known one by one when the model is loaded; they are gone before it runs. */
const composite = (type: string, expand: Expand): Composite => ({
  type,
  opsets: [11, 27],
  note: 'sequences are known at load',
  expand,
});

const SEQUENCE_EMPTY = composite('SequenceEmpty', (_, scope) => scope.outputSequence(0, { items: [] }));

const SEQUENCE_CONSTRUCT = composite('SequenceConstruct', (context, scope) =>
  scope.outputSequence(0, { items: context.node.inputs }),
);

/** SequenceInsert(sequence, value, position): at the end, unless told where. */
const SEQUENCE_INSERT = composite('SequenceInsert', (context, scope) => {
  const items = itemsOf(context, scope);
  const at = positionOf(context, 2, items.length, items.length);
  scope.outputSequence(0, { items: items.toSpliced(at, 0, context.node.inputs[1]!) });
});

/** SequenceErase(sequence, position): the last one, unless told which. */
const SEQUENCE_ERASE = composite('SequenceErase', (context, scope) => {
  const items = itemsOf(context, scope);
  const at = context.node.inputs[1] ? positionOf(context, 1, items.length, items.length - 1) : items.length - 1;
  scope.outputSequence(0, { items: items.toSpliced(at, 1) });
});

const SEQUENCE_AT = composite('SequenceAt', (context, scope) => {
  const items = itemsOf(context, scope);
  scope.output(0, items[positionOf(context, 1, items.length, items.length - 1)]!);
});

const SEQUENCE_LENGTH = composite('SequenceLength', (context, scope) =>
  scope.output(0, scope.int(itemsOf(context, scope).length)),
);

/** ConcatFromSequence(sequence): joined along an axis, or along a new one. */
const CONCAT_FROM_SEQUENCE = composite('ConcatFromSequence', (context, scope) => {
  const axis = context.attributes.requiredNumber('axis');
  const joinsNew = context.attributes.number('new_axis', 0) !== 0;
  const sequence = scope.sequence(context.node.inputs[0]!);
  if (sequence && 'rowsOf' in sequence && axis === 0 && !joinsNew) {
    scope.output(0, sequence.rowsOf);
    return;
  }
  const items = itemsOf(context, scope);
  if (items.length === 0) throw context.invalid('nothing to join: the sequence is empty');
  const rank = scope.shape(items[0]!).length + (joinsNew ? 1 : 0);
  const at = context.axis(axis, rank);
  const parts = joinsNew ? items.map((item) => scope.add('Unsqueeze', [item, scope.ints(at)])) : items;
  scope.output(0, scope.add('Concat', parts, { axis: at }));
});

/** SplitToSequence(X, split): parts of the sizes that are given, of one size, or of 1. */
const SPLIT_TO_SEQUENCE = composite('SplitToSequence', (context, scope) => {
  const { shape } = context.input(0);
  const axis = context.axis(context.attributes.number('axis', 0), shape.length);
  const size = shape[axis]!;
  const split = context.optional(1) && context.requiredInts(1, 'the split');
  let sizes: readonly Dim[] | undefined = split && context.input(1).shape.length === 1 ? split : undefined;
  if (!sizes) {
    const each = split?.[0] ?? 1;
    if (typeof size !== 'number')
      throw context.unsupported(`how many parts dimension ${size} has depends on the query`);
    if (each < 1) throw context.invalid(`parts of ${each}`);
    sizes = Array.from({ length: Math.ceil(size / each) }, (_, i) => Math.min(each, size - i * each));
  }
  const outputs = sizes.map((_, i) => `${context.node.name}/part${i}`);
  const [x] = context.node.inputs as [string];
  scope.add('Split', [x, scope.ints(...sizes)], { axis }, { outputs });
  const drops = !split && context.attributes.number('keepdims', 1) === 0;
  const squeezed = (part: string): string => scope.add('Squeeze', [part, scope.ints(axis)]);
  scope.outputSequence(0, { items: drops ? outputs.map(squeezed) : outputs });
});

export const SEQUENCE_OPERATORS: readonly Composite[] = [
  SEQUENCE_EMPTY,
  SEQUENCE_CONSTRUCT,
  SEQUENCE_INSERT,
  SEQUENCE_ERASE,
  SEQUENCE_AT,
  SEQUENCE_LENGTH,
  CONCAT_FROM_SEQUENCE,
  SPLIT_TO_SEQUENCE,
];
