import { Command } from 'commander';
import { BraidError } from '../../../runtime/errors.js';
import type { Tensor } from '../../../runtime/graph/tensor.js';
import type { TensorSpec } from '../../api.js';
import { readTensors, writeJson, writeTensors } from '../../io/index.js';
import type { CliContext } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { withModel } from '../model.js';
import { adapterOption, backendOption, collect, sharedOption, withLoading, type LoadingOptions } from '../options.js';

export interface RunCommandOptions extends LoadingOptions {
  readonly input: readonly string[];
  readonly output?: string;
}

export function runCommand(finish: (run: () => Promise<ExitCode>) => Promise<void>, context: CliContext): Command {
  return withLoading(new Command('run'))
    .description('run one query of a model on inputs from files')
    .argument('<model>', 'path of an .onnx file, zoo:NAME or zoo:NAME:SCALE')
    .requiredOption(
      '--input <file>',
      'inputs: .safetensors, .json, .npy, .pb or a folder of input_K.pb; repeatable',
      collect,
    )
    .option('--output <file>', 'where to write the outputs; JSON on stdout without it')
    .addOption(sharedOption())
    .addOption(adapterOption())
    .addOption(backendOption())
    .action((model: string, options: RunCommandOptions) => finish(() => runModel(context, model, options)));
}

export async function runModel(context: CliContext, text: string, options: RunCommandOptions): Promise<ExitCode> {
  return withModel(context, text, options, async (model) => {
    const inputs = await readInputs(options.input, model.inputs);
    const outputs = new Map(Object.entries(await model.run(Object.fromEntries(inputs))));
    if (options.output === undefined) context.out.write(`${writeJson(outputs)}\n`);
    else await writeTensors(options.output, outputs);
    return EXIT.ok;
  });
}

async function readInputs(files: readonly string[], specs: readonly TensorSpec[]): Promise<Map<string, Tensor>> {
  const inputs = new Map<string, Tensor>();
  for (const file of files) {
    for (const [name, tensor] of await readTensors(file, specs)) {
      if (inputs.has(name)) {
        throw new BraidError('FILE_UNREADABLE', `${file}: holds input '${name}', which an earlier --input holds too`);
      }
      inputs.set(name, tensor);
    }
  }
  return inputs;
}
