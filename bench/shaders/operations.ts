import { GraphBuilder, type Graph, type Tensor } from '../../runtime/index.js';

/** An operation of the zoo's models alone; `torch_operations.py` does the same and goes by the same names. */
export interface Operation {
  readonly name: string;
  readonly kind: 'linear' | 'lookup';
  readonly rows: number;
  /** Columns of a linear layer's result, or of a table. */
  readonly n: number;
  /** Columns of a linear layer's input, or rows of each table. */
  readonly k: number;
  /** Tables. */
  readonly tables: number;
}

/** The layers of Wide&Deep and DLRM. */
const LAYERS = [
  [1024, 429],
  [512, 1024],
  [256, 512],
  [1024, 479],
  [1024, 1024],
  [128, 256],
] as const;

export function operations(rows: readonly number[]): Operation[] {
  return rows.flatMap((m) => [
    ...LAYERS.map(([n, k]): Operation => ({ name: `linear ${m}x${n}x${k}`, kind: 'linear', rows: m, n, k, tables: 0 })),
    { name: `lookup ${m}x26x128`, kind: 'lookup', rows: m, n: 128, k: 100_000, tables: 26 },
  ]);
}

function noise(dims: readonly number[]): Tensor {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i++) data[i] = ((Math.imul(i, 0x9e37_79b1) >>> 8) / 2 ** 24 - 0.5) / 16;
  return { dtype: 'float32', dims, data };
}

/** The operation as a model; what follows it makes the result small, so that reading it back does not matter. */
export function graphOf({ name, kind, n, k, tables }: Operation): Graph {
  const b = new GraphBuilder(name);
  const most = (value: string, axes: readonly number[]): void => {
    b.output(b.op('ReduceMax', [value], { axes: [...axes], keepdims: 0 }, { outputs: ['most'] }), 'float32');
  };
  if (kind === 'linear') {
    const x = b.input('x', 'float32', ['rows', k]);
    const layer = [b.constant('weight', noise([n, k])), b.constant('bias', noise([n]))];
    most(b.op('Gemm', [x, ...layer], { transB: 1 }), [1]);
  } else {
    const ids = b.input('x', 'int64', ['rows', tables]);
    const columns = Array.from({ length: tables }, (_, i) => `ids${i}`);
    b.op('Split', [ids], { axis: 1 }, { outputs: columns });
    const found = columns.map((column, i) => b.op('Gather', [b.constant(`table${i}`, noise([k, n])), column]));
    most(b.op('Concat', found, { axis: 1 }), [1, 2]);
  }
  return b.build();
}

/** Ids spread over the tables, or elements of a layer's input. */
export function inputOf({ kind, rows, k, tables }: Operation): Float32Array | BigInt64Array {
  return kind === 'linear'
    ? (noise([rows, k]).data as Float32Array)
    : BigInt64Array.from({ length: rows * tables }, (_, i) => BigInt((Math.imul(i, 0x9e37_79b1) >>> 4) % k));
}
