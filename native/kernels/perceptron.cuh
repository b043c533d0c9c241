// A layer or two on matrix units, in TF32 or float16, and what normalizes their rows: what shaders/perceptron.ts says. The module around
// it is written by shaders/perceptron_native.ts: parameters, buffers, `at_x`, where a row begins, `activate`, of a hidden
// element, `finish`, of four results, and `put`, which stores them.
#pragma once

#include "tensor.cuh"

namespace wgsl {

// Parameters lie in shared memory. Weights are pairs, of the k that a lane multiplies at a time; which these are is chosen so
// that a lane's features of x are four neighbours and its hidden elements are those that it has made: a warp takes `parts`
// times 16 rows through both layers in registers. `hidden` is 0 where there is one layer.
template <int k, int hidden, int n, int warps, int parts, bool normalizes, bool halves>
struct NativePerceptron {
  static constexpr int threads = 32 * warps;
  static constexpr int rows = 16 * parts * warps;
  // The hidden columns that are made at a time.
  static constexpr int chunk = 32;
  static constexpr int firstN = hidden > 0 ? hidden : n;
  static constexpr int secondAt = k * firstN;
  static constexpr int firstBias = secondAt + hidden * n;
  static constexpr int secondBias = firstBias + hidden;
  static constexpr int scaleAt = secondBias + n, shiftAt = scaleAt + n;
  static constexpr int words = normalizes ? shiftAt + n : scaleAt;
  static_assert(k % 16 == 0 && hidden % chunk == 0 && n % 8 == 0, "matrix units take 8 at a time");

  // c += a B for the columns from `column` on, of the eight k of block `block`.
  template <int columns>
  static BRAID_DEVICE void multiplyBlock(f32 (&c)[parts][columns / 8][4], const u32 (&a)[parts][4], const f32 *weights, int width,
                                         int block, int column) {
    const u32 lane = threadIdx.x % 32;
    const f32 *at = weights + ((block * width + column) * 4 + lane) * 2;
#pragma unroll
    for (int j = 0; j < columns / 8; j++) {
      const float2 b = *(const float2 *)(at + j * 64);
#pragma unroll
      for (int i = 0; i < parts; i++) Units<halves>::multiply(c[i][j], a[i], __float_as_uint(b.x), __float_as_uint(b.y));
    }
  }

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    extern __shared__ f32 memory[];
    const u32 z = blockIdx.z;
    const auto &p = kernel.blocks[z];
    const f32 *weights = kernel.weights.data + p.weights_start;
    for (u32 i = threadIdx.x * 4; i < words; i += threads * 4) copyFour(memory + i, weights + i, true);
    endCopies();
    awaitCopies<0>();
    __syncthreads();
    const u32 m = p.m;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 row0 = blockIdx.x * rows + warp * 16 * parts; row0 < m; row0 += gridDim.x * rows) {
      u32 x[k / 8][parts][4];
#pragma unroll
      for (int i = 0; i < parts; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const f32 *from = kernel.x.data + kernel.at_x(z, min(row0 + i * 16 + half * 8 + g, m - 1)) + t * 4;
#pragma unroll
          for (int kk = 0; kk < k / 16; kk++) {
            const float4 four = __ldg((const float4 *)(from + kk * 16));
            x[2 * kk][i][half] = Units<halves>::rounded(four.x);
            x[2 * kk][i][half + 2] = Units<halves>::rounded(four.y);
            x[2 * kk + 1][i][half] = Units<halves>::rounded(four.z);
            x[2 * kk + 1][i][half + 2] = Units<halves>::rounded(four.w);
          }
        }
      f32 c[parts][n / 8][4] = {};
      if constexpr (hidden == 0) {
#pragma unroll
        for (int block = 0; block < k / 8; block++) multiplyBlock<n>(c, x[block], memory, n, block, 0);
      } else {
#pragma unroll 1
        for (int first = 0; first < hidden; first += chunk) {
          f32 made[parts][chunk / 8][4] = {};
#pragma unroll
          for (int block = 0; block < k / 8; block++) multiplyBlock<chunk>(made, x[block], memory, hidden, block, first);
#pragma unroll
          for (int j = 0; j < chunk / 8; j++) {
            const float2 bias = *(const float2 *)(memory + firstBias + first + j * 8 + t * 2);
            u32 a[parts][4];
#pragma unroll
            for (int i = 0; i < parts; i++)
#pragma unroll
              for (int e = 0; e < 4; e++)
                a[i][e / 2 + e % 2 * 2] =
                    Units<halves>::rounded(kernel.activate(z, made[i][j][e] + (e % 2 == 0 ? bias.x : bias.y)));
            multiplyBlock<n>(c, a, memory + secondAt, n, first / 8 + j, 0);
          }
        }
      }
      // Neighbours exchange halves: the first gets four columns of the upper row, the second of the lower.
      const bool lower = lane % 2 == 1;
#pragma unroll
      for (int i = 0; i < parts; i++) {
        const u32 row = row0 + i * 16 + g + (lower ? 8 : 0), safe = min(row, m - 1);
        f32 sum = 0.0f, squares = 0.0f;
#pragma unroll
        for (int j = 0; j < n / 8; j++) {
          f32(&e)[4] = c[i][j];
          const u32 column = j * 8 + t / 2 * 4;
          const f32 one = __shfl_xor_sync(0xffffffffu, lower ? e[0] : e[2], 1);
          const f32 two = __shfl_xor_sync(0xffffffffu, lower ? e[1] : e[3], 1);
          const float4 bias = *(const float4 *)(memory + secondBias + column);
          vec4<f32> four = lower ? vec4<f32>(one, two, e[2], e[3]) : vec4<f32>(e[0], e[1], one, two);
          four = kernel.finish(z, safe, column, four + vec4<f32>(bias.x, bias.y, bias.z, bias.w));
          if constexpr (normalizes) sum += four.x + four.y + four.z + four.w;
          e[0] = four.x, e[1] = four.y, e[2] = four.z, e[3] = four.w;
        }
        if constexpr (normalizes) {
          const f32 mean = (sum + __shfl_xor_sync(0xffffffffu, sum, 2)) / n;
#pragma unroll
          for (int j = 0; j < n / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
              c[i][j][e] -= mean;
              squares = fma(c[i][j][e], c[i][j][e], squares);
            }
          const f32 scale = inverseSqrt((squares + __shfl_xor_sync(0xffffffffu, squares, 2)) / n + p.epsilon);
#pragma unroll
          for (int j = 0; j < n / 8; j++) {
            const u32 column = j * 8 + t / 2 * 4;
#pragma unroll
            for (int e = 0; e < 4; e++)
              c[i][j][e] = fma(c[i][j][e] * scale, memory[scaleAt + column + e], memory[shiftAt + column + e]);
          }
        }
        if (row < m) {
#pragma unroll
          for (int j = 0; j < n / 8; j++)
            kernel.put(z, row, j * 8 + t / 2 * 4, vec4<f32>(c[i][j][0], c[i][j][1], c[i][j][2], c[i][j][3]));
        }
      }
    }
  }
};

} // namespace wgsl
