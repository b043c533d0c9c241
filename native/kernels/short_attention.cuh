// Attention over few keys, a query a thread; what it computes is said in shaders/short_attention.ts, which also writes the
// module around it: parameters, buffers, and `at_q`, `at_k`, `at_v`, `at_mask`, `at_out`, where each begins for a query.
#pragma once

#include "wgsl.cuh"

namespace wgsl {

// Features lie together in fours. Scores of all keys are in registers: they come before the largest is known, one apart from
// another, and each exponential is taken once.
template <int width, int valueWidth, int length, bool hasMask> struct ShortAttention {
  static constexpr int threads = 128;

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    const u32 z = blockIdx.z;
    const auto &p = kernel.blocks[z];
    const u32 count = p.count;
    for (u32 i = blockIdx.x * threads + threadIdx.x; i < count; i += gridDim.x * threads) {
      const float4 *q = (const float4 *)kernel.q.data + kernel.at_q(z, i) / 4;
      const float4 *k = (const float4 *)kernel.k.data + kernel.at_k(z, i) / 4;
      const float4 *v = (const float4 *)kernel.v.data + kernel.at_v(z, i) / 4;
      const u32 kStep = p.k_step / 4, vStep = p.v_step / 4;
      f32 scores[length] = {};
#pragma unroll
      for (int g = 0; g < width / 4; g++) {
        const float4 a = __ldg(q + g);
#pragma unroll
        for (int j = 0; j < length; j++) {
          const float4 b = __ldg(k + j * kStep + g);
          scores[j] = fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, scores[j]))));
        }
      }
      f32 largest = -3.4028234e38f;
#pragma unroll
      for (int j = 0; j < length; j++) {
        scores[j] *= p.scale;
        if constexpr (hasMask) scores[j] += kernel.mask_of(z, i, j);
        largest = max(largest, scores[j]);
      }
      f32 sum = 0.0f;
#pragma unroll
      for (int j = 0; j < length; j++) sum += scores[j] = __expf(scores[j] - largest);
      const f32 share = 1.0f / sum;
      float4 *out = (float4 *)kernel.out.data + kernel.at_out(z, i) / 4;
#pragma unroll
      for (int g = 0; g < valueWidth / 4; g++) {
        float4 mixed = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (int j = 0; j < length; j++) {
          const float4 b = __ldg(v + j * vStep + g);
          mixed.x = fma(scores[j], b.x, mixed.x);
          mixed.y = fma(scores[j], b.y, mixed.y);
          mixed.z = fma(scores[j], b.z, mixed.z);
          mixed.w = fma(scores[j], b.w, mixed.w);
        }
        out[g] = make_float4(mixed.x * share, mixed.y * share, mixed.z * share, mixed.w * share);
      }
    }
  }
};

} // namespace wgsl
