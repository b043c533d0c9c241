/** Bits of float32's mantissa that TF32 has not. */
const DROPPED_BITS = 13;

/** Rounds to TF32, half away from zero, as CUDA's cvt.rna does; what is not finite stays. */
export function roundToTf32(values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const [half, mask] = [2 ** (DROPPED_BITS - 1), -(2 ** DROPPED_BITS)];
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i]! & 0x7f80_0000) !== 0x7f80_0000) bits[i] = (bits[i]! + half) & mask;
  }
}
