import { GraphBuilder, tensorOf, type Graph, type Tensor } from '../../runtime/index.js';
import { BRAID_DOMAIN } from '../../runtime/operators/composite.js';

/** An operation of the zoo's models alone; `torch_operations.py` does the same and goes by the same names. */
export interface Operation {
  readonly name: string;
  readonly rows: number;
  /** Rows of the tables that ids are for. */
  readonly tableRows: number;
  /** Ids a row. */
  readonly ids: number;
  /** The operation as a model: of ids, [rows, ids], to something small, so that reading it back does not matter. */
  build(): Graph;
  /** Whether a kernel is of the frame that makes the operation's operands and shrinks its result. */
  isFrame(program: string): boolean;
}

/** Rows of tables that are looked up alone, and of those that operands are made from. */
const [TABLE_ROWS, OPERAND_ROWS] = [100_000, 1000];

/** [columns, k]: layers of Wide&Deep, DLRM and BST. */
const LAYERS = [
  [1024, 429],
  [512, 1024],
  [256, 512],
  [1024, 479],
  [1024, 1024],
  [128, 256],
  [1024, 1856],
] as const;

const PERCEPTRONS = [
  [512, 256, 1],
  [13, 512, 256, 128],
  [768, 200, 80, 1],
] as const;

function noise(dims: readonly number[]): Tensor {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i++) data[i] = ((Math.imul(i, 0x9e37_79b1) >>> 8) / 2 ** 24 - 0.5) / 16;
  return { dtype: 'float32', dims, data };
}

const FRAME = /^(Gather|ReduceMax|Copy)/;

type Body = (b: GraphBuilder, operand: string) => { readonly value: string; readonly rank: number };

/** An operation on looked-up operands of [rows, ..shape]: the last dimension is a table's. */
function onOperand(name: string, rows: number, shape: readonly number[], body: Body): Operation {
  const ids = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return {
    name,
    rows,
    tableRows: OPERAND_ROWS,
    ids,
    isFrame: (program) => FRAME.test(program),
    build() {
      const b = new GraphBuilder(name);
      const table = b.constant('operands', noise([OPERAND_ROWS, shape.at(-1)!]));
      const found = b.op('Gather', [table, b.input('ids', 'int64', shape.length === 1 ? ['rows'] : ['rows', ids])]);
      const dims = b.constant('shape', tensorOf('int64', [shape.length + 1], [0, ...shape]));
      const operand = shape.length <= 2 ? found : b.op('Reshape', [found, dims]);
      most(b, body(b, operand));
      return b.build();
    },
  };
}

function most(b: GraphBuilder, { value, rank }: ReturnType<Body>): void {
  const axes = Array.from({ length: rank - 1 }, (_, i) => i + 1);
  b.output(b.op('ReduceMax', [value], { axes, keepdims: 0 }, { outputs: ['most'] }), 'float32');
}

function linear(b: GraphBuilder, name: string, x: string, k: number, n: number): string {
  return b.op('Gemm', [x, b.constant(`${name}.weight`, noise([n, k])), b.constant(`${name}.bias`, noise([n]))], {
    transB: 1,
  });
}

function dense(b: GraphBuilder, name: string, x: string, k: number, n: number): string {
  return b.op('Add', [
    b.op('MatMul', [x, b.constant(`${name}.kernel`, noise([k, n]))]),
    b.constant(`${name}.bias`, noise([n])),
  ]);
}

function lookup(name: string, rows: number, tables: number, width: number): Operation {
  return {
    name,
    rows,
    tableRows: TABLE_ROWS,
    ids: tables,
    isFrame: (program) => program.startsWith('ReduceMax'),
    build() {
      const b = new GraphBuilder(name);
      const columns = Array.from({ length: tables }, (_, i) => `ids${i}`);
      b.op('Split', [b.input('ids', 'int64', ['rows', tables])], { axis: 1 }, { outputs: columns });
      const found = columns.map((column, i) =>
        b.op('Gather', [b.constant(`table${i}`, noise([TABLE_ROWS, width])), column]),
      );
      most(b, { value: b.op('Concat', found, { axis: 1 }), rank: 3 });
      return b.build();
    },
  };
}

function bag(name: string, rows: number, length: number, width: number): Operation {
  return {
    name,
    rows,
    tableRows: TABLE_ROWS,
    ids: length,
    isFrame: (program) => program.startsWith('ReduceMax'),
    build() {
      const b = new GraphBuilder(name);
      const table = b.constant('table', noise([TABLE_ROWS, width]));
      const ids = b.input('ids', 'int64', ['rows', length]);
      const value = b.op('EmbeddingBag', [table, ids], { mode: 'sum' }, { domain: BRAID_DOMAIN });
      most(b, { value, rank: 2 });
      return b.build();
    },
  };
}

/** The products of pairs of vectors below the diagonal, behind the first of them: DLRM's. */
const interaction =
  (vectors: number, width: number): Body =>
  (b, x) => {
    const lower = Array.from({ length: vectors }, (_, row) => Array.from({ length: row }, (_, c) => row * vectors + c));
    const places = b.constant('lower', tensorOf('int64', [lower.flat().length], lower.flat()));
    const products = b.op('MatMul', [x, b.op('Transpose', [x], { perm: [0, 2, 1] })]);
    const pairs = b.op('Gather', [b.op('Flatten', [products]), places], { axis: 1 });
    const flat = b.constant('flat', tensorOf('int64', [2], [0, vectors * width]));
    const ends = [0, width, 1].map((v, i) => b.constant(`end${i}`, tensorOf('int64', [1], [v])));
    const first = b.op('Slice', [b.op('Reshape', [x, flat]), ...ends]);
    return { value: b.op('Concat', [first, pairs], { axis: 1 }), rank: 2 };
  };

/** DIN's: the first vector is the target, the others the keys. */
const targetAttention =
  (length: number, width: number): Body =>
  (b, x) => {
    const axis = b.constant('axis', tensorOf('int64', [1], [1]));
    const [start, end] = [1, length + 1].map((v) => b.constant(`at${v}`, tensorOf('int64', [1], [v])));
    const zero = b.constant('at0', tensorOf('int64', [1], [0]));
    const keys = b.op('Slice', [x, start!, end!, axis]);
    const query = b.op('Slice', [x, zero, start!, axis]);
    const repeat = b.constant('repeat', tensorOf('int64', [3], [1, length, 1]));
    const features = [b.op('Expand', [query, repeat]), keys, b.op('Sub', [query, keys]), b.op('Mul', [query, keys])];
    let hidden = b.op('Concat', features, { axis: -1 });
    for (const [i, [k, n]] of [[4 * width, 80] as const, [80, 40] as const].entries())
      hidden = b.op('Relu', [dense(b, `hidden${i}`, hidden, k, n)]);
    const last = b.constant('last', tensorOf('int64', [1], [-1]));
    const weights = b.op('Softmax', [b.op('Squeeze', [dense(b, 'score', hidden, 40, 1), last])], { axis: -1 });
    return { value: b.op('Squeeze', [b.op('MatMul', [b.op('Unsqueeze', [weights, axis]), keys]), axis]), rank: 2 };
  };

/** Self-attention of `heads` over a short sequence, with the projections to queries, keys and values: BST's. */
const selfAttention =
  (width: number, heads: number): Body =>
  (b, x) => {
    const split = b.constant('split', tensorOf('int64', [4], [0, 0, heads, width / heads]));
    const project = (name: string, perm: readonly number[]): string =>
      b.op('Transpose', [b.op('Reshape', [dense(b, name, x, width, width), split])], { perm });
    const products = b.op('MatMul', [project('q', [0, 2, 1, 3]), project('k', [0, 2, 3, 1])]);
    const divisor = b.constant('divisor', tensorOf('float32', [], [Math.sqrt(width / heads)]));
    const weights = b.op('Softmax', [b.op('Div', [products, divisor])], { axis: -1 });
    const mixed = b.op('MatMul', [weights, project('v', [0, 2, 1, 3])]);
    const joined = b.constant('joined', tensorOf('int64', [3], [0, 0, width]));
    const value = b.op('Reshape', [b.op('Transpose', [mixed], { perm: [0, 2, 1, 3] }), joined]);
    return { value, rank: 3 };
  };

const norm = (b: GraphBuilder, x: string, width: number): string =>
  b.op('LayerNormalization', [x, b.constant('scale', noise([width])), b.constant('shift', noise([width]))], {
    axis: -1,
  });

/** Feed-forward layers, what went in and a normalization: of BST's block. */
const feedForward =
  (width: number, hidden: number): Body =>
  (b, x) => {
    const wide = b.op('Relu', [dense(b, 'up', x, width, hidden)]);
    return { value: norm(b, b.op('Add', [x, dense(b, 'down', wide, hidden, width)]), width), rank: 3 };
  };

function perceptron(widths: readonly number[]): Body {
  return (b, x) => {
    let value = x;
    for (const [i, n] of widths.slice(1).entries()) {
      value = linear(b, `layer${i}`, value, widths[i]!, n);
      if (i < widths.length - 2) value = b.op('Relu', [value]);
    }
    return { value, rank: 2 };
  };
}

/** Elementwise operators in a row: one kernel, 8 bytes an element. */
const chain: Body = (b, x) => {
  const half = b.constant('half', tensorOf('float32', [], [0.5]));
  return { value: b.op('Sigmoid', [b.op('Tanh', [b.op('Mul', [x, half])])]), rank: 2 };
};

export function operations(rows: readonly number[]): Operation[] {
  return rows.flatMap((m) => [
    ...LAYERS.map(([n, k]) =>
      onOperand(`linear ${m}x${n}x${k}`, m, [k], (b, x) => ({ value: linear(b, 'layer', x, k, n), rank: 2 })),
    ),
    onOperand(`linear ${m}x21x64x64`, m, [21, 64], (b, x) => ({ value: dense(b, 'layer', x, 64, 64), rank: 3 })),
    ...PERCEPTRONS.map((widths) =>
      onOperand(`perceptron ${m}x${widths.join('-')}`, m, [widths[0]], perceptron(widths)),
    ),
    onOperand(`feed forward ${m}x21x64-256-64`, m, [21, 64], feedForward(64, 256)),
    lookup(`lookup ${m}x26x128`, m, 26, 128),
    lookup(`lookup ${m}x26x16`, m, 26, 16),
    bag(`bag ${m}x20x64`, m, 20, 64),
    onOperand(`interaction ${m}x27x128`, m, [27, 128], interaction(27, 128)),
    onOperand(`target attention ${m}x100x128`, m, [101, 128], targetAttention(100, 128)),
    onOperand(`self attention ${m}x21x64`, m, [21, 64], selfAttention(64, 8)),
    onOperand(`normalization ${m}x21x64`, m, [21, 64], (b, x) => ({ value: norm(b, x, 64), rank: 3 })),
    onOperand(`softmax ${m}x1024`, m, [1024], (b, x) => ({ value: b.op('Softmax', [x], { axis: -1 }), rank: 2 })),
    onOperand(`chain ${m}x1024`, m, [1024], chain),
  ]);
}

/** Ids spread over the tables. */
export function inputOf({ rows, tableRows, ids }: Operation): BigInt64Array {
  return BigInt64Array.from({ length: rows * ids }, (_, i) => BigInt((Math.imul(i, 0x9e37_79b1) >>> 4) % tableRows));
}
