// Attention to a target on matrix units, in TF32 or float16, a row a block; what it computes is said in shaders/target_attention.ts, which also
// writes the module around it: parameters, buffers, and the functions of elements (`activate_first`, `activate_second`,
// `finish_score`).
#pragma once

#include "tensor.cuh"

namespace wgsl {

// Where parameters lie, in vectors of 4; see targetAttentionLayout.
struct AttentionPlaces {
  u32 keyWeights, pairWeights, secondWeights, secondBias, scoreWeights, scoreBias;
};

// `columns` are those of the first layer as the parameters have them. Keys of a row, the first layer's weight for it and the
// second layer's lie in shared memory; a warp takes 16 keys through both layers in registers.
template <int length, int width, int first, int columns, int second, bool halves> struct TargetAttention {
  static constexpr int threads = 256;
  static constexpr int warps = threads / 32;
  static constexpr int seconds = (second + 3) / 4 * 4;
  static constexpr int partsFirst = columns / 8;
  static constexpr int partsSecond = (second + 7) / 8;
  // Lines are padded so that no two lanes of a load meet in a bank.
  static constexpr int keyLine = width + 4;
  static constexpr int firstLine = columns % 32 == 8 || columns % 32 == 24 ? columns : columns % 32 == 16 || columns % 32 == 0 ? columns + 8 : columns;
  static constexpr int secondLine = partsSecond * 8 + 4;
  static constexpr int keysAt = 0;
  static constexpr int firstAt = keysAt + length * keyLine;
  static constexpr int secondAt = firstAt + width * firstLine;
  static constexpr int scoresAt = secondAt + columns * secondLine;
  static constexpr int partsAt = scoresAt + (length + 3) / 4 * 4;
  static_assert(width % 8 == 0 && columns % 8 == 0, "matrix units take 8 features at a time");

  static BRAID_DEVICE f32 combine(f32 *parts, f32 mine, bool isSum) {
#pragma unroll
    for (int gap = 16; gap > 0; gap /= 2) {
      f32 other = __shfl_xor_sync(0xffffffffu, mine, gap);
      mine = isSum ? mine + other : max(mine, other);
    }
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = mine;
    __syncthreads();
    f32 all = parts[0];
#pragma unroll
    for (int w = 1; w < warps; w++) all = isSum ? all + parts[w] : max(all, parts[w]);
    return all;
  }

  template <class Kernel>
  static BRAID_DEVICE void score(const Kernel &kernel, u32 z, u32 row, u32 keys0, const f32 *memory, const f32 *w, u32 wStart,
                                 const AttentionPlaces &at, f32 *scores) {
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    f32 hidden[partsFirst][4] = {};
    const f32 *a = memory + keysAt + min(keys0 + lane % 16, (u32)length - 1) * keyLine + lane / 16 * 4;
    const f32 *b = memory + firstAt + t * firstLine + g;
#pragma unroll 4
    for (int kk = 0; kk < width; kk += 8) {
      u32 fa[4];
      loadMatrices(fa, a + kk);
#pragma unroll
      for (int j = 0; j < 4; j++) fa[j] = Units<halves>::rounded(fa[j]);
#pragma unroll
      for (int j = 0; j < partsFirst; j++)
        Units<halves>::multiply(hidden[j], fa, __float_as_uint(b[kk * firstLine + j * 8]),
                                __float_as_uint(b[(kk + 4) * firstLine + j * 8]));
    }
    const auto &p = kernel.blocks[z];
    const f32 *c = kernel.c.data + p.c_start + row * p.c_row;
#pragma unroll
    for (int j = 0; j < partsFirst; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const u32 column = j * 8 + t * 2 + e;
        const bool inside = columns == first || column < first;
        const f32 line = inside ? __ldg(c + column * p.c_column) : 0.0f;
#pragma unroll
        for (int half = 0; half < 2; half++)
          hidden[j][half * 2 + e] = inside ? kernel.activate_first(z, wStart, column, hidden[j][half * 2 + e] + line) : 0.0f;
      }
    // What a lane holds of 8 columns are two neighbours, where an operand has two that are 4 apart: the weight's rows follow.
    f32 sums[partsSecond][4] = {};
    const f32 *b2 = memory + secondAt + t * 2 * secondLine + g;
#pragma unroll
    for (int j = 0; j < partsFirst; j++) {
      u32 fa[4] = {Units<halves>::rounded(hidden[j][0]), Units<halves>::rounded(hidden[j][2]),
                   Units<halves>::rounded(hidden[j][1]), Units<halves>::rounded(hidden[j][3])};
#pragma unroll
      for (int i = 0; i < partsSecond; i++)
        Units<halves>::multiply(sums[i], fa, __float_as_uint(b2[j * 8 * secondLine + i * 8]),
                                __float_as_uint(b2[(j * 8 + 1) * secondLine + i * 8]));
    }
    f32 out[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < partsSecond; i++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const u32 column = i * 8 + t * 2 + e;
        if (column >= second) continue;
        const f32 bias = __ldg(w + 4 * at.secondBias + column), weight = __ldg(w + 4 * at.scoreWeights + column);
        out[0] += kernel.activate_second(z, sums[i][e] + bias) * weight;
        out[1] += kernel.activate_second(z, sums[i][2 + e] + bias) * weight;
      }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      out[half] += __shfl_xor_sync(0xffffffffu, out[half], 1);
      out[half] += __shfl_xor_sync(0xffffffffu, out[half], 2);
      const u32 key = keys0 + half * 8 + g;
      if (t == 0 && key < length) scores[key] = kernel.finish_score(z, row, key, out[half] + __ldg(w + 4 * at.scoreBias));
    }
  }

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel, const AttentionPlaces &at) {
    extern __shared__ f32 memory[];
    const u32 z = blockIdx.z, thread = threadIdx.x;
    const auto &p = kernel.blocks[z];
    const f32 *w = (const f32 *)kernel.weights.data + p.weights_start;
    f32 *scores = memory + scoresAt, *parts = memory + partsAt;
    for (u32 i = thread; i < columns * partsSecond * 8; i += threads) {
      const u32 row = i / (partsSecond * 8), column = i % (partsSecond * 8);
      const f32 value = column < seconds ? w[4 * at.secondWeights + row * seconds + column] : 0.0f;
      memory[secondAt + row * secondLine + column] = __uint_as_float(Units<halves>::rounded(value));
    }
    for (u32 row = blockIdx.x; row < p.m; row += gridDim.x) {
      const f32 *keys = (const f32 *)kernel.keys.data + p.k_start + row * p.k_row;
      for (u32 i = thread; i < length * width / 4; i += threads) {
        const u32 key = i / (width / 4), four = i % (width / 4) * 4;
        copyFour(memory + keysAt + key * keyLine + four, keys + key * p.k_step + four, true);
      }
      endCopies();
      const f32 *q = kernel.q.data + p.q_start + row * p.q_row;
      // Several loads under way at a time: they come from the second cache.
#pragma unroll 5
      for (u32 i = thread; i < width * columns / 4; i += threads) {
        const u32 feature = i / (columns / 4), four = i % (columns / 4) * 4;
        const f32 scale = __ldg(q + feature * p.q_column);
        const float4 own = __ldg((const float4 *)(w + 4 * at.keyWeights + feature * columns + four));
        const float4 pair = __ldg((const float4 *)(w + 4 * at.pairWeights + feature * columns + four));
        const auto both = [&](f32 x, f32 y) { return __uint_as_float(Units<halves>::rounded(fma(scale, y, x))); };
        *(float4 *)(memory + firstAt + feature * firstLine + four) =
            make_float4(both(own.x, pair.x), both(own.y, pair.y), both(own.z, pair.z), both(own.w, pair.w));
      }
      awaitCopies<0>();
      __syncthreads();
      for (u32 keys0 = thread / 32 * 16; keys0 < length; keys0 += warps * 16)
        score(kernel, z, row, keys0, memory, w, p.weights_start / 4, at, scores);
      __syncthreads();
      f32 largest = -3.4028234e38f;
      for (u32 key = thread; key < length; key += threads) largest = max(largest, scores[key]);
      largest = combine(parts, largest, false);
      f32 sum = 0.0f;
      for (u32 key = thread; key < length; key += threads) {
        scores[key] = exp(scores[key] - largest);
        sum += scores[key];
      }
      sum = combine(parts + warps, sum, true);
      // Parts of the keys to parts of the block, four features a thread; the first layer's weight makes room for their sums.
      constexpr u32 fours = width / 4, most = threads / fours > 0 ? threads / fours : 1;
      constexpr u32 shares = most < firstLine ? most : firstLine;
      f32 *mixed = memory + firstAt;
      for (u32 i = thread; i < fours * shares; i += threads) {
        const u32 four = i % fours * 4, share = i / fours;
        float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
        for (u32 key = share; key < length; key += shares) {
          const float4 k = *(const float4 *)(memory + keysAt + key * keyLine + four);
          const f32 weight = scores[key];
          sums.x = fma(weight, k.x, sums.x);
          sums.y = fma(weight, k.y, sums.y);
          sums.z = fma(weight, k.z, sums.z);
          sums.w = fma(weight, k.w, sums.w);
        }
        *(float4 *)(mixed + share * width + four) = sums;
      }
      __syncthreads();
      for (u32 f = thread; f < width; f += threads) {
        f32 all = 0.0f;
#pragma unroll
        for (u32 share = 0; share < shares; share++) all += mixed[share * width + f];
        kernel.out[p.out_start + row * p.out_row + f * p.out_column] = all / sum;
      }
      __syncthreads();
    }
  }
};

} // namespace wgsl
