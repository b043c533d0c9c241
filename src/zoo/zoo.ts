import { BraidError } from '../../runtime/errors.js';
import type { Graph } from '../../runtime/graph/graph.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import { bstInputs, buildBst } from './bst.js';
import { zooNames, type ZooConfigs, type ZooName } from './config.js';
import { buildDin, dinInputs } from './din.js';
import { buildDlrm, dlrmInputs } from './dlrm.js';
import { drawInputs } from './inputs.js';
import { LayerBuilder, type ZooInput } from './layers.js';
import { scaleConfigs, zooScales, type ZooScale } from './scales.js';
import { buildWnd, wndInputs } from './wnd.js';

export interface ZooOptions {
  /** Most rows of a table; larger ones are cut. Default: 100,000, which every scale but `published` stays within. */
  readonly maxRows?: number;
}

export interface BuildOptions extends ZooOptions {
  /** Of the weights. Default: 1. */
  readonly seed?: number;
}

export interface InputOptions extends ZooOptions {
  /** Draw one row of what `zooSharedInputs` names, for a model that is loaded with those inputs shared. */
  readonly shared?: boolean;
}

/** One model at one scale, as a listing shows it. */
export interface ZooEntry {
  readonly model: ZooName;
  readonly scale: ZooScale;
  readonly title: string;
  readonly source: string;
  readonly inputs: readonly ZooInput[];
  /** Weights, in elements; all are float32. */
  readonly parameters: number;
  readonly weightBytes: number;
}

interface ZooModel<C> {
  readonly title: string;
  inputs(config: C): readonly ZooInput[];
  build(layers: LayerBuilder, config: C): void;
}

const MODELS: { readonly [M in ZooName]: ZooModel<ZooConfigs[M]> } = {
  wnd: { title: 'Wide & Deep', inputs: wndInputs, build: buildWnd },
  din: { title: 'Deep Interest Network', inputs: dinInputs, build: buildDin },
  dlrm: { title: 'DLRM', inputs: dlrmInputs, build: buildDlrm },
  bst: { title: 'Behavior Sequence Transformer', inputs: bstInputs, build: buildBst },
};

const DEFAULT_SEED = 1;

/** Scale of a model asked for by its name alone. */
export const DEFAULT_SCALE: ZooScale = 'demo';

/**
 * Builds a model with seeded weights: the same numbers on every machine.
 * @throws BraidError MODEL_NOT_FOUND that lists what exists.
 */
export function buildZoo(model: string, scale: string = DEFAULT_SCALE, options: BuildOptions = {}): Graph {
  return assemble(zooName(model), zooScale(scale), options, false).build();
}

/**
 * Seeded inputs for `rows` rows of a model, by name. Ids lie inside the tables. For DIN half of the rows have a full
 * history; the others end early, with id 0 and mask 0 from there on. With `shared`, all rows are of one user.
 * @throws BraidError MODEL_NOT_FOUND that lists what exists.
 */
export function zooInputs(
  model: string,
  scale: string,
  rows: number,
  seed: number,
  options: InputOptions = {},
): Record<string, Tensor> {
  return drawInputs(declaredInputs(zooName(model), zooScale(scale), options), rows, seed, options.shared);
}

/**
 * Names of the inputs that describe the user, so that the rows of a query can share them; none where a model does not
 * tell users from candidates.
 * @throws BraidError MODEL_NOT_FOUND that lists what exists.
 */
export function zooSharedInputs(model: string, scale: string = DEFAULT_SCALE): string[] {
  const inputs = declaredInputs(zooName(model), zooScale(scale), {});
  return inputs.filter((input) => input.ofUser).map(({ name }) => name);
}

/** Every model at every scale. Makes no weights, so it is cheap. */
export function describeZoo(options: ZooOptions = {}): readonly ZooEntry[] {
  return zooNames.flatMap((model) => zooScales.map((scale) => describeModel(model, scale, options)));
}

/**
 * One entry of `describeZoo`.
 * @throws BraidError MODEL_NOT_FOUND that lists what exists.
 */
export function describeModel(model: string, scale: string, options: ZooOptions = {}): ZooEntry {
  const [name, at] = [zooName(model), zooScale(scale)];
  const { parameters } = assemble(name, at, options, true);
  return {
    model: name,
    scale: at,
    title: MODELS[name].title,
    source: scaleConfigs(at)[name].source,
    inputs: declaredInputs(name, at, options),
    parameters,
    weightBytes: parameters * Float32Array.BYTES_PER_ELEMENT,
  };
}

/** The configuration behind a model at a scale, its tables cut to `maxRows`. */
export function zooConfig<M extends ZooName>(model: M, scale: ZooScale, options: ZooOptions = {}): ZooConfigs[M] {
  return scaleConfigs(scale, options.maxRows)[model];
}

function declaredInputs<M extends ZooName>(model: M, scale: ZooScale, options: ZooOptions): readonly ZooInput[] {
  return MODELS[model].inputs(zooConfig(model, scale, options));
}

function assemble<M extends ZooName>(model: M, scale: ZooScale, options: BuildOptions, measure: boolean): LayerBuilder {
  const config = zooConfig(model, scale, options);
  const layers = new LayerBuilder(`${model}-${scale}`, { seed: options.seed ?? DEFAULT_SEED, measure });
  layers.inputs(MODELS[model].inputs(config));
  MODELS[model].build(layers, config);
  return layers;
}

function zooName(name: string): ZooName {
  const found = zooNames.find((known) => known === name);
  if (!found) throw notFound(`no zoo model '${name}'; models are ${zooNames.join(', ')}`);
  return found;
}

function zooScale(name: string): ZooScale {
  const found = zooScales.find((known) => known === name);
  if (!found) throw notFound(`no zoo scale '${name}'; scales are ${zooScales.join(', ')}`);
  return found;
}

function notFound(message: string): BraidError {
  return new BraidError('MODEL_NOT_FOUND', message);
}
