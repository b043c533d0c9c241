import type { Tensor } from '../../runtime/graph/tensor.js';

/** Names that a notice lists before it only counts. */
const NAMED = 3;

/** Narrows float64 constants to float32, the widest type that shaders have, and keeps count for one notice. */
export class Narrowing {
  readonly #names: string[] = [];
  #overflowed = 0;

  /** Returns `tensor` itself unless it is float64. */
  narrow(name: string, tensor: Tensor): Tensor {
    if (tensor.dtype !== 'float64') return tensor;
    const wide = tensor.data as Float64Array;
    const data = new Float32Array(wide);
    this.#names.push(`'${name}'`);
    for (let i = 0; i < data.length; i++) {
      if (Number.isFinite(wide[i]) && !Number.isFinite(data[i])) this.#overflowed++;
    }
    return { dtype: 'float32', dims: tensor.dims, data };
  }

  notices(): string[] {
    const count = this.#names.length;
    if (count === 0) return [];
    const shown = `${this.#names.slice(0, NAMED).join(', ')}${count > NAMED ? ', ...' : ''}`;
    const lost = this.#overflowed > 0 ? `; ${this.#overflowed} values beyond float32 became infinite` : '';
    return [`${count} float64 constant${count === 1 ? '' : 's'} narrowed to float32: ${shown}${lost}`];
  }
}
