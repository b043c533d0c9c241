import { BraidError } from '../../errors.js';
import { PARAMETER_WINDOW_BYTES } from '../../../shaders/program.js';

/** A compiled program and the layout its bind groups follow. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** The bindings of a program: windows of parameters, then storage. */
export interface BindingShape {
  readonly parameters: number;
  readonly storage: readonly ('read' | 'read_write')[];
}

/** Compiled pipelines of a device by program key: each variant is compiled once, at load, for all models. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Promise<Pipeline>>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get(program: { readonly key: string; readonly source: string }, shape: BindingShape): Promise<Pipeline> {
    const cached = this.#pipelines.get(program.key);
    if (cached) return cached;
    const made = this.#compile(program, this.#layout(shape));
    this.#pipelines.set(program.key, made);
    return made;
  }

  #layout({ parameters, storage }: BindingShape): GPUBindGroupLayout {
    const key = `${parameters} ${storage.join(' ')}`;
    const cached = this.#layouts.get(key);
    if (cached) return cached;
    const buffers: GPUBufferBindingLayout[] = [
      ...Array.from({ length: parameters }, () => ({
        type: 'uniform' as const,
        minBindingSize: PARAMETER_WINDOW_BYTES,
      })),
      ...storage.map((access) => ({ type: access === 'read' ? ('read-only-storage' as const) : ('storage' as const) })),
    ];
    const layout = this.#device.createBindGroupLayout({
      label: `bindings ${key}`,
      entries: buffers.map((buffer, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer })),
    });
    this.#layouts.set(key, layout);
    return layout;
  }

  async #compile(
    program: { readonly key: string; readonly source: string },
    layout: GPUBindGroupLayout,
  ): Promise<Pipeline> {
    const module = this.#device.createShaderModule({ label: program.key, code: program.source });
    try {
      const pipeline = await this.#device.createComputePipelineAsync({
        label: program.key,
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      });
      return { pipeline, layout };
    } catch (cause) {
      const { messages } = await module.getCompilationInfo();
      const lines = program.source.split('\n');
      const details = messages.map(
        (m) => `${m.type} at ${m.lineNum}:${m.linePos}: ${m.message}\n    ${lines[m.lineNum - 1] ?? ''}`,
      );
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BraidError('INTERNAL', `shader ${program.key} does not compile: ${[reason, ...details].join('\n  ')}`, {
        cause,
      });
    }
  }
}
