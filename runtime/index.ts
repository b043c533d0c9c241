/** The engine without files, HTTP or Node: compile graphs and run them on a WebGPU device you bring. */
export type { Model, ModelSummary, RunOptions, TensorInput, TensorSpec } from './api.js';
export type {
  Backend,
  DispatchTime,
  Executable,
  QueryResult,
  Wave,
  WaveOutcome,
  WaveQuery,
} from './backends/backend.js';
export { isSoftwareAdapter } from './backends/webgpu/adapter.js';
export { WebGpuBackend, type WebGpuOptions } from './backends/webgpu/index.js';
export { evaluateGraph } from './backends/reference/evaluate.js';
export { compile, printPlan, type ModelSettings, type Plan } from './compile/plan.js';
export { TABLE_PRECISIONS, WEIGHT_PRECISIONS, type Precision } from './compile/precision.js';
export { BraidError, ERROR_CATALOGUE, type ErrorCode } from './errors.js';
export { GraphEngine, type GraphEngineOptions, type GraphLoadOptions } from './engine.js';
export { GraphBuilder } from './graph/builder.js';
export type { DataType, TensorData } from './graph/dtype.js';
export type { Attribute, DeclaredDim, Graph, Node, ValueInfo } from './graph/graph.js';
export { POLICY_NAMES, type PolicyName, type ScheduleOptions } from './schedule/policy.js';
export type { LoadReport } from './schedule/report.js';
export type { Span, TraceSink } from './schedule/trace.js';
export { castTensor, tensor, tensorOf, toFloat64, type Tensor } from './graph/tensor.js';
