export { exportOnnx } from './export.js';
export type { ExternalRange, ReadExternal } from './external.js';
export { importOnnx, importOnnxFile, type ImportOptions } from './import.js';
export { MIN_IR_VERSION, OPSET_RANGE } from './opsets.js';
