import { describe, expect, it } from 'vitest';
import { analyze, missingOperators, type AnalyzedGraph } from '../../../runtime/compile/analyze.js';
import { compile, GraphBuilder, tensorOf, toFloat64, type Graph } from '../../../runtime/index.js';
import { shapeText } from '../../../runtime/graph/dim.js';
import { floats } from '../../support/cases.js';
import { expectError } from '../../support/errors.js';

const ints = (...values: number[]) => tensorOf('int64', [values.length], values);
const scalar = (value: number) => tensorOf('int64', [], [value]);

/** Operators left for the device. */
const left = (analyzed: AnalyzedGraph): string[] => analyzed.nodes.map((n) => n.node.op);
const shapeOf = (analyzed: AnalyzedGraph, name: string): string => shapeText(analyzed.types.get(name)!.shape);

/** What is left of a lookup by ids that were cast to double and back. */
const roundTrip = (to: number, source: 'int32' | 'int64'): string[] => {
  const b = new GraphBuilder('ids');
  const id = b.input('id', source, ['n', 1]);
  const double = b.op('Cast', [id], { to: 11 });
  const flat = b.op('Reshape', [double, b.constant('flat', ints(-1))]);
  const back = b.op('Cast', [flat], { to });
  b.output(b.op('Gather', [b.constant('t', floats([2, 1], [1, 2])), back]), 'float32');
  return left(analyze(b.build()));
};

/** The symbol that counts rows for inputs of these shapes. */
const rowsOf = (...shapes: (readonly (number | string | null)[])[]): string | undefined => {
  const b = new GraphBuilder('rows');
  shapes.forEach((shape, i) => b.input(`x${i}`, 'float32', shape));
  b.output('x0', 'float32');
  return analyze(b.build()).rows;
};

describe('analysis', () => {
  it('folds the shape chains that exporters emit to nothing', () => {
    // x.view(x.shape[0], -1), as PyTorch writes it: Shape, Gather, Unsqueeze, Concat, Reshape.
    const b = new GraphBuilder('view');
    const x = b.input('x', 'float32', ['batch', 4, 6]);
    const batch = b.op('Gather', [b.op('Shape', [x]), b.constant('0', scalar(0))], { axis: 0 });
    const shape = b.op(
      'Concat',
      [b.op('Unsqueeze', [batch, b.constant('axes', ints(0))]), b.constant('-1', ints(-1))],
      { axis: 0 },
    );
    b.output(b.op('Reshape', [x, shape], {}, { outputs: ['y'] }), 'float32');
    const analyzed = analyze(b.build());
    expect(left(analyzed)).toEqual(['Reshape']);
    expect([shapeOf(analyzed, 'y'), analyzed.foldedNodes]).toEqual(['[batch, 24]', 4]);
  });

  it('follows the product of a shape to a range, as TorchScript writes the offsets of bags', () => {
    const b = new GraphBuilder('offsets');
    const x = b.input('x', 'int64', ['batch', 3]);
    const total = b.op('Cast', [b.op('ReduceProd', [b.op('Shape', [x])], { keepdims: 0 })], { to: 7 });
    b.output(
      b.op('Range', [b.constant('first', scalar(0)), total, b.constant('step', scalar(3))], {}, { outputs: ['y'] }),
      'int64',
    );
    const analyzed = analyze(b.build());
    expect([left(analyzed), shapeOf(analyzed, 'y')]).toEqual([['Range'], '[batch]']);
  });

  it('follows sizes that are held as floats, but for a quotient that may be none', () => {
    const b = new GraphBuilder('floats', 13);
    const x = b.input('x', 'float32', ['batch', 4]);
    const size = b.op('Cast', [b.op('Gather', [b.op('Shape', [x]), b.constant('at', ints(0))])], { to: 1 });
    const by = (op: string, value: number): string =>
      b.op('Cast', [b.op('Floor', [b.op(op, [size, b.constant(`${op}${value}`, floats([1], [value]))])])], { to: 7 });
    const shape = (first: string, second: number): string =>
      b.op('Concat', [first, b.constant(`s${second}`, ints(second))], { axis: 0 });
    b.output(b.op('Reshape', [x, shape(by('Mul', 2), 2)], {}, { outputs: ['y'] }), 'float32');
    expect(shapeOf(analyze(b.build()), 'y')).toBe('[2*batch, 2]');
    b.output(b.op('Reshape', [x, shape(by('Div', 2), 8)]), 'float32');
    expectError('MODEL_UNSUPPORTED', /the new shape .* is computed from data/, () => analyze(b.build()));
  });

  it('lets a cast to the type that is there already be none', () => {
    const b = new GraphBuilder('idle');
    const x = b.input('x', 'float32', ['batch', 3]);
    const joined = b.op('Concat', [x, b.op('Cast', [b.op('Neg', [x])], { to: 1 })], { axis: 1 });
    b.output(joined, 'float32');
    expect(left(analyze(b.build()))).toEqual(['Neg', 'Identity', 'Concat']);
  });

  it('follows arithmetic on sizes through casts, slices and comparisons', () => {
    // The half of the columns, computed from the shape; then an Expand that the shape decides by Where(Equal(..)).
    const b = new GraphBuilder('arithmetic');
    const x = b.input('x', 'float32', ['batch', 8]);
    const shape = b.op('Shape', [x]);
    const one = b.constant('one', ints(1));
    const columns = b.op('Slice', [shape, one, b.constant('two', ints(2)), b.constant('zero', ints(0))]);
    const half = b.op(
      'Cast',
      [b.op('Div', [b.op('Cast', [columns], { to: 6 }), b.constant('2i', tensorOf('int32', [1], [2]))])],
      { to: 7 },
    );
    b.output(b.op('Slice', [x, b.constant('zero', ints(0)), half, one], {}, { outputs: ['half'] }), 'float32');
    const rows = b.op('Slice', [shape, b.constant('zero', ints(0)), one, b.constant('zero', ints(0))]);
    const wanted = b.op('Concat', [rows, one], { axis: 0 });
    const chosen = b.op('Where', [
      b.op('Equal', [wanted, b.constant('-1', ints(-1))]),
      b.constant('ones', ints(1, 1)),
      wanted,
    ]);
    b.output(b.op('Expand', [b.constant('c', floats([1, 1], [5])), chosen], {}, { outputs: ['column'] }), 'float32');
    const analyzed = analyze(b.build());
    expect(left(analyzed).toSorted()).toEqual(['Expand', 'Slice']);
    expect([shapeOf(analyzed, 'half'), shapeOf(analyzed, 'column')]).toEqual(['[batch, 4]', '[batch, 1]']);
  });

  it('folds constants with the reference, and drops what nothing needs', () => {
    const b = new GraphBuilder('constants');
    const x = b.input('x', 'float32', ['n', 2]);
    const w = b.op('Transpose', [b.constant('w', floats([1, 2], [3, 4]))]);
    const doubled = b.op('Add', [w, w], {}, { outputs: ['doubled'] });
    b.output(b.op('MatMul', [x, doubled]), 'float32');
    b.output(doubled, 'float32');
    b.op('Exp', [x]);
    const analyzed = analyze(b.build());
    expect(left(analyzed)).toEqual(['MatMul']);
    const known = analyzed.known.get('doubled')!;
    expect(known.kind === 'tensor' && [...toFloat64(known.tensor)]).toEqual([6, 8]);
  });

  it('does not make large constants out of small ones', () => {
    const b = new GraphBuilder('large');
    b.output(
      b.op('Expand', [b.constant('c', floats([1], [1])), b.constant('s', ints(1024, 1024))], {}, { outputs: ['y'] }),
      'float32',
    );
    const analyzed = analyze(b.build());
    expect([left(analyzed), analyzed.known.has('y')]).toEqual([['Expand'], false]);
  });

  it('cuts casts of ids to double and back out, through reshapes', () => {
    expect(roundTrip(7, 'int64')).toEqual(['Reshape', 'Identity', 'Gather']);
    expect(roundTrip(6, 'int32')).toEqual(['Reshape', 'Identity', 'Gather']);
    // Back to another type is no round trip.
    expect(roundTrip(7, 'int32')).toEqual(['Cast', 'Reshape', 'Cast', 'Gather']);
  });

  it('keeps the round trip where a float32 rounds', () => {
    const b = new GraphBuilder('rounding');
    const id = b.input('id', 'int64', ['n']);
    b.output(b.op('Cast', [b.op('Cast', [id], { to: 1 })], { to: 7 }), 'int64');
    expect(left(analyze(b.build()))).toEqual(['Cast', 'Cast']);
  });

  it('counts rows by the symbol that leads most inputs, unnamed ones as one', () => {
    expect(rowsOf(['n', 2], ['m', 3], ['m', 4])).toBe('m');
    expect(rowsOf([null, 2], ['unk__12', 3], ['n', 4])).toBe('rows');
    expect(rowsOf([2, 'n'])).toBeUndefined();
    expect(rowsOf([])).toBeUndefined();
  });

  it('lists every missing operator, with the reason', () => {
    const b = new GraphBuilder('exotic');
    const x = b.input('x', 'float32', ['n']);
    const built = b.op('Relu', [b.op('Det', [x])]);
    b.output(built, 'float32');
    const graph: Graph = {
      ...b.build(),
      nodes: [
        ...b.build().nodes,
        { name: 'late', op: 'Relu', domain: '', opset: 99, inputs: [built], outputs: ['l'], attributes: {} },
        { name: 'own', op: 'Relu', domain: 'com.acme', opset: 1, inputs: ['l'], outputs: ['o'], attributes: {} },
      ],
    };
    const lines = [
      "Det 'Det_0': no such operator in Braid",
      "Relu 'late': opset 99 is outside 7 to 27",
      "com.acme.Relu 'own': domain 'com.acme' is unknown",
    ];
    expect(missingOperators(graph)).toEqual(lines);
    const message = expectError('MODEL_UNSUPPORTED', /^model 'exotic' has 3 nodes that Braid cannot run:/, () =>
      analyze(graph),
    );
    for (const line of lines) expect(message).toContain(line);
  });

  it.each<[string, RegExp, (b: GraphBuilder, x: string) => string]>([
    [
      'an undefined input',
      /Relu 'bad': input 'nowhere' is not defined/,
      (b) => b.op('Relu', ['nowhere'], {}, { name: 'bad' }),
    ],
    [
      'shapes that do not broadcast',
      /Add 'bad': shapes \[n, 4\] and \[3\] do not broadcast at dimension 1/,
      (b, x) => b.op('Add', [x, b.constant('c', floats([3], [1, 2, 3]))], {}, { name: 'bad' }),
    ],
    [
      'matrices that do not multiply',
      /MatMul 'bad': shapes \[n, 4\] and \[3, 1\] do not multiply/,
      (b, x) => b.op('MatMul', [x, b.constant('c', floats([3, 1], [1, 2, 3]))], {}, { name: 'bad' }),
    ],
    [
      'a reshape that does not fit',
      /Reshape 'bad': \[n, 4\] does not reshape to \[2, 2\]/,
      (b, x) => b.op('Reshape', [x, b.constant('c', ints(2, 2))], {}, { name: 'bad' }),
    ],
    [
      'an axis outside the rank',
      /Softmax 'bad': axis 2 is outside rank 2/,
      (b, x) => b.op('Softmax', [x], { axis: 2 }, { name: 'bad' }),
    ],
    [
      'types that do not mix',
      /Add 'bad': inputs of different types float32 and int64/,
      (b, x) => b.op('Add', [x, b.constant('c', ints(1))], {}, { name: 'bad' }),
    ],
    [
      'a perm that is none',
      /Transpose 'bad': perm \[0, 0\] is no permutation of 2 dimensions/,
      (b, x) => b.op('Transpose', [x], { perm: [0, 0] }, { name: 'bad' }),
    ],
    [
      'a squeeze of more than 1',
      /Squeeze 'bad': dimension 1 of \[n, 4\] is not 1/,
      (b, x) => b.op('Squeeze', [x, b.constant('c', ints(1))], {}, { name: 'bad' }),
    ],
    ['an output of no node', /output 'nothing' is not produced by any node/, () => 'nothing'],
  ])('refuses %s, naming the node', (_, message, build) => {
    const b = new GraphBuilder('bad');
    b.output(build(b, b.input('x', 'float32', ['n', 4])), 'float32');
    expectError('MODEL_INVALID', message, () => compile(b.build(), { maxBindingBytes: 2 ** 20 }));
  });

  it('refuses shapes that are computed from data, naming the input', () => {
    const b = new GraphBuilder('dynamic');
    b.output(
      b.op('Reshape', [b.input('x', 'float32', [4]), b.input('shape', 'int64', [2])], {}, { name: 'bad' }),
      'float32',
    );
    expectError('MODEL_UNSUPPORTED', /Reshape 'bad': the new shape \(input 1, 'shape'\) is computed from data/, () =>
      analyze(b.build()),
    );
  });
});
