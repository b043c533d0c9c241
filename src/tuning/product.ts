import { matMul, type MatMulTile } from '../../shaders/matmul.js';
import { layoutParameters, PARAMETER_WINDOW_BYTES, type WebGpuProgram } from '../../shaders/program.js';
import { halfToNumber, numberToHalf } from '../../runtime/graph/dtype.js';
import { workgroupsOf } from '../../runtime/operators/matmul/kernel.js';

/** A product of m x k by k x n. */
export interface Shape {
  readonly label: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** B is stored [n, k], as Gemm weights are. */
  readonly transposed: boolean;
  /** Elements from a row of A to the next where that is not k. */
  readonly pitch?: number;
}

/** One product measured. */
export interface Measured {
  /** Of the fastest of several submissions of `repeat` dispatches, a dispatch. */
  readonly ms: number;
  /** Largest deviation of the elements looked at from their float64 value, over the sum of the products' sizes. */
  readonly deviation: number;
}

const LOOKED_AT = 64;

function valueOf(index: number, salt: number): number {
  return ((((Math.imul(index + salt, 0x9e37_79b1) >>> 0) / 2 ** 20) | 0) % 256) / 256 - 0.5;
}

const pipelines = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

function pipelineOf(device: GPUDevice, { key, source }: WebGpuProgram): Promise<GPUComputePipeline> {
  const made = pipelines.get(device) ?? new Map<string, Promise<GPUComputePipeline>>();
  pipelines.set(device, made);
  const known = made.get(key);
  if (known) return known;
  const module = device.createShaderModule({ code: source });
  const pipeline = device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  made.set(key, pipeline);
  return pipeline;
}

/** The operands of one shape on a device, and the kernels that multiply them. */
export class Product {
  readonly shape: Shape;
  readonly #device: GPUDevice;
  readonly #a: GPUBuffer;
  readonly #b: GPUBuffer;
  readonly #halves: { readonly a: GPUBuffer; readonly b: GPUBuffer };
  readonly #out: GPUBuffer;

  constructor(device: GPUDevice, shape: Shape) {
    const { m, n, k } = shape;
    this.#device = device;
    this.shape = shape;
    this.#a = this.#filled(m * (shape.pitch ?? k), 1, 4);
    this.#b = this.#filled(k * n, 2, 4);
    this.#halves = { a: this.#filled(m * (shape.pitch ?? k), 1, 2), b: this.#filled(k * n, 2, 2) };
    this.#out = device.createBuffer({ size: m * n * 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  }

  /** Multiples of 1/256, which float16 holds exactly: kernels that round to it compute the same product. */
  #filled(count: number, salt: number, bytes: 2 | 4): GPUBuffer {
    const size = Math.ceil((count * bytes) / 16) * 16;
    const made = this.#device.createBuffer({ size, usage: GPUBufferUsage.STORAGE, mappedAtCreation: true });
    const data = bytes === 4 ? new Float32Array(made.getMappedRange()) : new Uint16Array(made.getMappedRange());
    for (let i = 0; i < count; i++) data[i] = bytes === 4 ? valueOf(i, salt) : numberToHalf(valueOf(i, salt));
    made.unmap();
    return made;
  }

  #expected(row: number, column: number): { readonly value: number; readonly size: number } {
    const { n, k, transposed, pitch = k } = this.shape;
    let value = 0;
    let size = 0;
    for (let i = 0; i < k; i++) {
      const term = valueOf(row * pitch + i, 1) * valueOf(transposed ? column * k + i : i * n + column, 2);
      value += term;
      size += Math.abs(term);
    }
    return { value, size };
  }

  /**
   * @param halves whether the weight is stored as float16, and A and the result.
   * @param vectors whether results may be stored in fours, by kernels that can.
   */
  async prepare(
    tile: MatMulTile,
    halves: boolean | 'all',
    vectors = this.shape.n % 4 === 0,
  ): Promise<(repeat: number, rounds: number) => Promise<Measured>> {
    const device = this.#device;
    const { m, n, k, transposed, pitch = k } = this.shape;
    const inFours = { vectors: vectors && tile.kind === 'outer', outFours: tile.kind === 'subgroup' && n % 4 === 0 };
    const isAll = halves === 'all';
    const program = matMul({
      tile,
      hasBias: false,
      halves: halves !== false,
      ...inFours,
      aHalves: isAll,
      outHalves: isAll,
    });
    const pipeline = await pipelineOf(device, program);
    const { offsets } = layoutParameters(program.fields);
    const words = new Uint32Array(PARAMETER_WINDOW_BYTES / 4);
    const sizes = { m, n, k, batches: 1, batch_inner: 1, a_row: pitch, a_column: 1, out_row: n, out_column: 1 };
    const weight = transposed ? { b_row: 1, b_column: k } : { b_row: n, b_column: 1 };
    for (const [name, value] of Object.entries({ ...sizes, ...weight })) words[offsets.get(name)!] = value;
    new Float32Array(words.buffer)[offsets.get('alpha')!] = 1;
    const parameters = device.createBuffer({
      size: PARAMETER_WINDOW_BYTES,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(parameters, 0, words);
    const operands = [
      parameters,
      isAll ? this.#halves.a : this.#a,
      halves === false ? this.#b : this.#halves.b,
      this.#out,
    ];
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: operands.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const workgroups = Math.min(65_535, workgroupsOf(tile, m, n, 1));
    return (repeat, rounds) => this.#measure(pipeline, group, workgroups, repeat, rounds, isAll ? 2 : 4);
  }

  async #measure(
    pipeline: GPUComputePipeline,
    group: GPUBindGroup,
    workgroups: number,
    repeat: number,
    rounds: number,
    bytes: 2 | 4,
  ): Promise<Measured> {
    const device = this.#device;
    const { m, n } = this.shape;
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
    const resolved = device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    const read = device.createBuffer({
      size: 16 + 4 * LOOKED_AT,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    // The corners, and places all over.
    const places = Array.from({ length: LOOKED_AT }, (_, i) =>
      i < 2 ? i * (m * n - 1) : Math.floor(((i * 0.618_034) % 1) * m * n),
    );
    let ms = Number.POSITIVE_INFINITY;
    let deviation = 0;
    for (let round = 0; round < rounds; round++) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
      });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < repeat; i++) pass.dispatchWorkgroups(workgroups);
      pass.end();
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, read, 0, 16);
      // A half comes with its neighbour.
      places.forEach((at, i) =>
        encoder.copyBufferToBuffer(this.#out, Math.floor((at * bytes) / 4) * 4, read, 16 + 4 * i, 4),
      );
      device.queue.submit([encoder.finish()]);
      await read.mapAsync(GPUMapMode.READ);
      const memory = read.getMappedRange();
      const [begin, end] = new BigUint64Array(memory, 0, 2);
      ms = Math.min(ms, Number(end! - begin!) / 1e6 / repeat);
      if (round === 0) {
        const halves = new Uint16Array(memory, 16);
        new Float32Array(memory, 16).forEach((word, i) => {
          const found = bytes === 4 ? word : halfToNumber(halves[2 * i + (places[i]! % 2)]!);
          const { value, size } = this.#expected(Math.floor(places[i]! / n), places[i]! % n);
          const off = Math.abs(found - value) / size;
          deviation = Math.max(deviation, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
        });
      }
      read.unmap();
    }
    for (const made of [querySet, resolved, read]) made.destroy();
    return { ms, deviation };
  }

  destroy(): void {
    for (const made of [this.#a, this.#b, this.#halves.a, this.#halves.b, this.#out]) made.destroy();
  }
}
