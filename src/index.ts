/** Braid as a library: load an ONNX recommendation model and run it on whatever GPU the machine has. */
export type {
  DeviceInfo,
  Engine,
  LentMemory,
  LoadOptions,
  LoadProgress,
  LoadReport,
  Model,
  ModelSource,
  ModelSummary,
  PolicyName,
  ProductPrecision,
  Precision,
  PrecisionSummary,
  RunOptions,
  ScheduleOptions,
  TensorInput,
  TensorSpec,
} from './api.js';
export {
  BACKENDS,
  describeDevices,
  type AdapterChoice,
  type BackendChoice,
  type DeviceChoice,
} from './device/index.js';
export { openEngine, type EngineOptions } from './engine.js';
export { load } from './load.js';
export { exportOnnx, importOnnx, importOnnxFile } from './onnx/index.js';
export { ModelRepository } from './repository/repository.js';
export { createServer, type ServerOptions } from './server/server.js';
export { buildZoo, zooInputs, zooNames, zooScales } from './zoo/index.js';
export { BraidError, ERROR_CATALOGUE, type ErrorCode } from '../runtime/errors.js';
export type { DataType, TensorData } from '../runtime/graph/dtype.js';
export { tensor, tensorOf, type Tensor } from '../runtime/graph/tensor.js';
