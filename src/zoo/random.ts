/**
 * Seeded numbers for weights and inputs: xoshiro128** 1.1 (Blackman and Vigna, https://prng.di.unimi.it), its state
 * filled by splitmix32 from a seed and a name. Naming the stream keeps a tensor's numbers the same wherever in a model
 * it is made, so adding a layer does not change the ones beside it.
 */
export class Random {
  #s0: number;
  #s1: number;
  #s2: number;
  #s3: number;

  constructor(seed: number, name: string) {
    let state = (seed ^ hashName(name)) | 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#s0 = next();
    this.#s1 = next();
    this.#s2 = next();
    // An all-zero state would stay zero for ever.
    this.#s3 = next() | 1;
  }

  /** The next 32 bits as an integer of 0 or more. */
  uint32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#s1, 5), 7), 9);
    const t = this.#s1 << 9;
    this.#s2 ^= this.#s0;
    this.#s3 ^= this.#s1;
    this.#s1 ^= this.#s2;
    this.#s0 ^= this.#s3;
    this.#s2 ^= t;
    this.#s3 = rotateLeft(this.#s3, 11);
    return result >>> 0;
  }

  /** A number in [0, 1). */
  unit(): number {
    return this.uint32() / 2 ** 32;
  }

  /** An integer in [0, limit). The bias of scaling 32 bits is below limit / 2^32, far under what a test could see. */
  below(limit: number): number {
    return Math.floor(this.unit() * limit);
  }

  /** Fills `out` with numbers spread evenly over [centre - bound, centre + bound). */
  fillUniform(out: Float32Array, bound: number, centre: number): void {
    // The same steps as uint32(), with the state in locals: private fields cost four times as much in this loop.
    let [s0, s1, s2, s3] = [this.#s0, this.#s1, this.#s2, this.#s3];
    const scale = bound / 2 ** 31;
    for (let i = 0; i < out.length; i++) {
      const x = Math.imul(s1, 5);
      out[i] = Math.imul((x << 7) | (x >>> 25), 9) * scale + centre;
      const t = s1 << 9;
      s2 ^= s0;
      s3 ^= s1;
      s1 ^= s2;
      s0 ^= s3;
      s2 ^= t;
      s3 = (s3 << 11) | (s3 >>> 21);
    }
    [this.#s0, this.#s1, this.#s2, this.#s3] = [s0, s1, s2, s3];
  }
}

/**
 * Numbers drawn one by one for a large tensor; the rest repeats them. A prime, so that the rows of a table are windows
 * at ever new offsets: no two of its first 1,048,573 rows are alike, whatever their width.
 */
export const DRAWN_BLOCK = 1_048_573;

/**
 * A tensor's worth of uniform numbers. Beyond DRAWN_BLOCK elements the drawn block is repeated: a model of 333 million
 * weights then costs little more than writing its memory, and every row of a table still differs from every other.
 */
export function uniformArray(random: Random, length: number, bound: number, centre = 0): Float32Array {
  const out = new Float32Array(length);
  const drawn = Math.min(length, DRAWN_BLOCK);
  random.fillUniform(out.subarray(0, drawn), bound, centre);
  // Whole blocks are doubled, so the period stays the block's length.
  for (let filled = drawn; filled < length; filled *= 2) out.copyWithin(filled, 0, Math.min(filled, length - filled));
  return out;
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

/** FNV-1a over UTF-16 code units; names here are ASCII. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash;
}
