/**
 * The closed-loop benchmark on ONNX Runtime: the same graphs, inputs, clients and turns as bench/concurrency.
 *
 *     ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save onnxruntime-node@1.30.0
 *     npm run build && node dist/bench/peers/onnxruntime-main.js --providers webgpu --json ort.json
 */
import { namesOf } from '../common/options.js';
import { writeOutputs } from '../common/output.js';
import { concurrencyCommand, type ConcurrencyOptions } from '../concurrency/options.js';
import { runConcurrency } from '../concurrency/run.js';
import { OnnxRuntimeSystem, providers, type Provider } from './onnxruntime.js';

const options = concurrencyCommand('onnxruntime')
  .option(
    '--providers <names>',
    `execution providers, of ${providers.join(', ')}`,
    namesOf<Provider>(providers),
    providers,
  )
  .parse()
  .opts<ConcurrencyOptions & { readonly providers: readonly Provider[] }>();

const systems: OnnxRuntimeSystem[] = [];
for (const provider of options.providers) systems.push(await OnnxRuntimeSystem.open(provider));
await writeOutputs(await runConcurrency(systems, options.models, { ...options, baselines: [] }), options);
