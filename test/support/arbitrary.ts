import * as fc from 'fast-check';
import { DATA_TYPES, bytesPerElement, viewBytes, type DataType } from '../../runtime/graph/dtype.js';
import { sizeOf, type Tensor } from '../../runtime/graph/tensor.js';

/** A small tensor of any type, shape (scalars and empty ones included) and bits, with what its type forbids left out. */
export function anyTensor(dtypes: readonly DataType[] = DATA_TYPES): fc.Arbitrary<Tensor> {
  const dims = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
  return fc.tuple(fc.constantFrom(...dtypes), dims).chain(([dtype, dims]) => {
    const length = sizeOf(dims) * bytesPerElement(dtype);
    return fc
      .uint8Array({ minLength: length, maxLength: length, max: dtype === 'bool' ? 1 : 255 })
      .map((bytes) => ({ dtype, dims, data: viewBytes(dtype, bytes, sizeOf(dims)) }));
  });
}

/** A tensor with its elements as hexadecimal bytes, so that NaNs compare by their bits. */
export function bits({ dtype, dims, data }: Tensor): unknown {
  return { dtype, dims, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex') };
}
