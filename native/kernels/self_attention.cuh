// Attention in a short sequence on matrix units, in TF32 or float16, with the layers of its queries, keys and values; what it
// computes is said in shaders/self_attention.ts. shaders/self_attention_native.ts writes the module around it: parameters and buffers.
#pragma once

#include "tensor.cuh"

namespace wgsl {

// A warp takes a sequence, which stays in its registers: what the units leave of one product is what they take for the next.
// Queries and keys are places x features; values are made as features x places, so that they are the second operand of the
// last product. Heads have 8 features, and go in pairs, whose values are the 16 lines of a product. Parameters lie in shared
// memory as nativeAttentionLayout in shaders/self_attention_native.ts has them: a lane reads what it multiplies as one vector.
template <int length, int features, int heads, int warps, bool halves> struct UnitSelfAttention {
  static constexpr int threads = 32 * warps;
  static constexpr int columns = 24 * heads;
  static constexpr int blocks = features / 8;
  // Places by sixteens, as lines, and by eights, as columns.
  static constexpr int lines = (length + 15) / 16, eights = (length + 7) / 8;
  static constexpr int valuesAt = blocks * heads * 2 * 64;
  static constexpr int biasAt = valuesAt + blocks * heads * 64;
  static constexpr int words = biasAt + columns;
  static_assert(features % 16 == 0 && heads % 2 == 0, "a lane has four neighbouring features, and heads go in pairs");

  using Multiplier = Units<halves>;

  // Sums of a product as the first operand of the next one, whose k are its columns.
  static BRAID_DEVICE void turn(u32 (&a)[4], const f32 (&c)[4]) {
    a[0] = Multiplier::rounded(c[0]), a[1] = Multiplier::rounded(c[2]);
    a[2] = Multiplier::rounded(c[1]), a[3] = Multiplier::rounded(c[3]);
  }

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    extern __shared__ f32 memory[];
    const auto &p = kernel.blocks[blockIdx.z];
    const f32 *weights = kernel.weights.data + p.weights_start;
    for (u32 i = threadIdx.x * 4; i < words; i += threads * 4) copyFour(memory + i, weights + i, true);
    endCopies();
    awaitCopies<0>();
    __syncthreads();
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 sequence = warp * gridDim.x + blockIdx.x; sequence < p.sequences; sequence += gridDim.x * warps) {
      u32 x[blocks][lines][4];
#pragma unroll
      for (int i = 0; i < lines; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const u32 place = min(i * 16 + half * 8 + g, (u32)length - 1);
          const f32 *from = kernel.x.data + p.x_start + sequence * p.x_sequence + place * p.x_place + t * 4;
#pragma unroll
          for (int k = 0; k < features / 16; k++) {
            const float4 four = __ldg((const float4 *)(from + k * 16));
            x[2 * k][i][half] = Multiplier::rounded(four.x);
            x[2 * k][i][half + 2] = Multiplier::rounded(four.y);
            x[2 * k + 1][i][half] = Multiplier::rounded(four.z);
            x[2 * k + 1][i][half + 2] = Multiplier::rounded(four.w);
          }
        }
#pragma unroll 1
      for (int pair = 0; pair < heads / 2; pair++) {
        const f32 *bias = memory + biasAt + pair * 48;
        f32 q[2][lines][4], k[2][lines][4], v[eights][4];
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
          for (int i = 0; i < lines; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
              q[h][i][e] = bias[h * 24 + t * 2 + e % 2];
              k[h][i][e] = bias[h * 24 + 8 + t * 2 + e % 2];
            }
#pragma unroll
        for (int j = 0; j < eights; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) v[j][e] = bias[e / 2 * 24 + 16 + g];
#pragma unroll
        for (int b = 0; b < blocks; b++) {
#pragma unroll
          for (int h = 0; h < 2; h++) {
            const f32 *at = memory + ((b * heads + pair * 2 + h) * 2 * 32 + lane) * 2;
            const float2 ofQuery = *(const float2 *)at, ofKey = *(const float2 *)(at + 64);
#pragma unroll
            for (int i = 0; i < lines; i++) {
              Multiplier::multiply(q[h][i], x[b][i], __float_as_uint(ofQuery.x), __float_as_uint(ofQuery.y));
              Multiplier::multiply(k[h][i], x[b][i], __float_as_uint(ofKey.x), __float_as_uint(ofKey.y));
            }
          }
          const uint4 ofValue = *(const uint4 *)(memory + valuesAt + ((b * (heads / 2) + pair) * 32 + lane) * 4);
          const u32 a[4] = {ofValue.x, ofValue.y, ofValue.z, ofValue.w};
#pragma unroll
          for (int j = 0; j < eights; j++) Multiplier::multiply(v[j], a, x[b][j / 2][j % 2], x[b][j / 2][j % 2 + 2]);
        }
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
          for (int i = 0; i < lines; i++) attend(kernel, sequence, pair * 2 + h, i, q[h][i], k[h], v, h);
      }
    }
  }

  // Sixteen queries of a head against all of its keys.
  template <class Kernel>
  static BRAID_DEVICE void attend(const Kernel &kernel, u32 sequence, u32 head, int i, const f32 (&q)[4], const f32 (&k)[lines][4],
                                  const f32 (&v)[eights][4], int h) {
    const auto &p = kernel.blocks[blockIdx.z];
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 a[4];
    turn(a, q);
    f32 s[eights][4] = {};
#pragma unroll
    for (int j = 0; j < eights; j++)
      Multiplier::multiply(s[j], a, Multiplier::rounded(k[j / 2][j % 2 * 2]), Multiplier::rounded(k[j / 2][j % 2 * 2 + 1]));
    f32 sum[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      f32 largest = -3.4028234e38f;
#pragma unroll
      for (int j = 0; j < eights; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          f32 &score = s[j][half * 2 + e];
          if (j * 8 + 8 > length && j * 8 + t * 2 + e >= length) score = -3.4028234e38f;
          largest = max(largest, score);
        }
      largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
      largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
      f32 all = 0.0f;
#pragma unroll
      for (int j = 0; j < eights; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          f32 &score = s[j][half * 2 + e];
          score = __expf(score - largest);
          if (j * 8 + 8 > length && j * 8 + t * 2 + e >= length) score = 0.0f;
          all += score;
        }
      all += __shfl_xor_sync(0xffffffffu, all, 1);
      sum[half] = all + __shfl_xor_sync(0xffffffffu, all, 2);
    }
    f32 out[4] = {};
#pragma unroll
    for (int j = 0; j < eights; j++) {
      turn(a, s[j]);
      Multiplier::multiply(out, a, Multiplier::rounded(v[j][h * 2]), Multiplier::rounded(v[j][h * 2 + 1]));
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const u32 place = i * 16 + half * 8 + g;
      if (place >= length) continue;
      f32 *to = kernel.out.data + p.out_start + sequence * p.out_sequence + place * p.out_place + head * p.out_head;
      const float2 two = make_float2(out[half * 2] / sum[half], out[half * 2 + 1] / sum[half]);
      if (p.out_feature == 1 && (p.out_start | p.out_sequence | p.out_place | p.out_head) % 2 == 0) {
        *(float2 *)(to + t * 2) = two;
      } else {
        to[t * 2 * p.out_feature] = two.x;
        to[(t * 2 + 1) * p.out_feature] = two.y;
      }
    }
  }
};

} // namespace wgsl
