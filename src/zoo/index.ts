export type { BstConfig, DinConfig, DlrmConfig, WndConfig, ZooConfigs, ZooName } from './config.js';
export { zooNames } from './config.js';
export type { ZooInput } from './layers.js';
export { DEFAULT_MAX_ROWS, zooScales, type ZooScale } from './scales.js';
export {
  DEFAULT_SCALE,
  buildZoo,
  describeModel,
  describeZoo,
  zooConfig,
  zooInputs,
  zooSharedInputs,
  type BuildOptions,
  type InputOptions,
  type ZooEntry,
  type ZooOptions,
} from './zoo.js';
export { writeZoo } from './write.js';
