import type { BstConfig, DinConfig, DlrmConfig, WndConfig, ZooConfigs } from './config.js';

/**
 * - `tiny`: small widths, 300 rows a table; for tests.
 * - `demo`: the benchmark's widths, 1,000 rows a table; loads in a second on a software adapter.
 * - `bench`: the shapes that benchmarks run, 100,000 rows a table.
 * - `published`: the widths of a published configuration, rows capped.
 */
export const zooScales = ['tiny', 'demo', 'bench', 'published'] as const;

export type ZooScale = (typeof zooScales)[number];

/**
 * Most rows of a table unless the caller says otherwise. Published tables reach ten million rows; how long a lookup
 * takes depends little on rows beyond what caches hold, and the cap keeps every model under two gigabytes.
 */
export const DEFAULT_MAX_ROWS = 100_000;

const DEMO_ROWS = 1000;

function same(count: number, rows: number): readonly number[] {
  return Array.from({ length: count }, () => rows);
}

const BENCH: ZooConfigs = {
  wnd: {
    source: 'the perceptron of DeepRec modelzoo/wide_and_deep, over 13 dense and 26 categorical features',
    dense: 13,
    tableRows: same(26, 100_000),
    dim: 16,
    deep: [1024, 512, 256, 1],
  },
  dlrm: {
    source: 'the perceptrons and the width of MLPerf v1, facebookresearch/dlrm bench/run_and_time.sh',
    dense: 13,
    tableRows: same(26, 100_000),
    dim: 128,
    bottom: [512, 256, 128],
    top: [1024, 1024, 512, 256, 1],
  },
  din: {
    source: 'the attention of the authors (80-40-1), the top of DeepRecSys (200-80), ReLU, a history of 100',
    itemRows: 100_000,
    categoryRows: 1000,
    dim: 64,
    history: 100,
    profileRows: same(8, 100_000),
    profileDim: 64,
    attention: [80, 40, 1],
    top: [200, 80, 1],
    activation: 'Relu',
    scaledScores: false,
    historyLayer: false,
    itemBias: false,
  },
  bst: {
    source: 'the block and the perceptron of the paper, embeddings 64 wide',
    itemRows: 100_000,
    dim: 64,
    history: 20,
    heads: 8,
    feedForward: 256,
    profileRows: same(8, 100_000),
    profileDim: 64,
    top: [1024, 512, 256, 1],
  },
};

const TINY: ZooConfigs = {
  wnd: { source: 'small widths for tests', dense: 13, tableRows: same(26, 300), dim: 4, deep: [64, 32, 16, 1] },
  dlrm: {
    source: 'small widths for tests',
    dense: 13,
    tableRows: same(26, 300),
    dim: 8,
    bottom: [32, 16, 8],
    top: [64, 32, 1],
  },
  din: {
    source: 'small widths for tests',
    itemRows: 300,
    categoryRows: 50,
    dim: 8,
    history: 20,
    profileRows: same(4, 300),
    profileDim: 8,
    attention: [16, 8, 1],
    top: [32, 16, 1],
    activation: 'Relu',
    scaledScores: false,
    historyLayer: false,
    itemBias: false,
  },
  bst: {
    source: 'small widths for tests',
    itemRows: 300,
    dim: 16,
    history: 10,
    heads: 4,
    feedForward: 64,
    profileRows: same(4, 300),
    profileDim: 16,
    top: [64, 32, 16, 1],
  },
};

/** Distinct values of the 26 categorical features of the Criteo Kaggle data set, in the data set's order. */
const CRITEO_KAGGLE_ROWS = [
  1460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5683, 8_351_593, 3194, 27, 14_992, 5_461_306, 10,
  5652, 2173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572,
];

/** DeepRec's hash bucket sizes for the Taobao features outside the sequence: eight of the user, seven of the item. */
const TAOBAO_PROFILE_ROWS = [100_000, 100, 100, 10, 10, 10, 10, 10, 100_000, 10_000, 100_000, 100_000, 100_000, 50, 10];

const PUBLISHED: ZooConfigs = {
  wnd: {
    source: 'DeepRecSys models/configs/wide_and_deep.json',
    dense: 512,
    tableRows: same(27, 1_000_000),
    dim: 32,
    deep: [1024, 512, 256, 1],
  },
  dlrm: {
    source: 'facebookresearch/dlrm bench/dlrm_s_criteo_kaggle.sh',
    dense: 13,
    tableRows: CRITEO_KAGGLE_ROWS,
    dim: 16,
    bottom: [512, 256, 64, 16],
    top: [512, 256, 1],
  },
  din: {
    source: 'zhougr1993/DeepInterestNetwork din/model.py, Amazon Electronics',
    itemRows: 63_001,
    categoryRows: 801,
    dim: 64,
    history: 100,
    profileRows: [192_403],
    profileDim: 128,
    attention: [80, 40, 1],
    top: [80, 40, 1],
    activation: 'Sigmoid',
    scaledScores: true,
    historyLayer: true,
    itemBias: true,
  },
  bst: {
    source: 'DeepRec modelzoo/bst/train.py (widths), the paper (structure)',
    itemRows: 100_000,
    dim: 32,
    history: 49,
    heads: 4,
    feedForward: 32,
    profileRows: TAOBAO_PROFILE_ROWS,
    profileDim: 16,
    top: [512, 256, 64, 1],
  },
};

/** The same configurations with no table above `maxRows` rows. */
function capRows(configs: ZooConfigs, maxRows: number): ZooConfigs {
  const cap = (rows: number): number => Math.min(rows, maxRows);
  const wnd: WndConfig = { ...configs.wnd, tableRows: configs.wnd.tableRows.map(cap) };
  const dlrm: DlrmConfig = { ...configs.dlrm, tableRows: configs.dlrm.tableRows.map(cap) };
  const din: DinConfig = {
    ...configs.din,
    itemRows: cap(configs.din.itemRows),
    categoryRows: cap(configs.din.categoryRows),
    profileRows: configs.din.profileRows.map(cap),
  };
  const bst: BstConfig = {
    ...configs.bst,
    itemRows: cap(configs.bst.itemRows),
    profileRows: configs.bst.profileRows.map(cap),
  };
  return { wnd, dlrm, din, bst };
}

const SCALES: Readonly<Record<ZooScale, ZooConfigs>> = {
  tiny: TINY,
  demo: capRows(BENCH, DEMO_ROWS),
  bench: BENCH,
  published: PUBLISHED,
};

/** The four configurations of a scale, no table above `maxRows` rows. */
export function scaleConfigs(scale: ZooScale, maxRows = DEFAULT_MAX_ROWS): ZooConfigs {
  return capRows(SCALES[scale], maxRows);
}
