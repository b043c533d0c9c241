// Compiles the kernels that are templates as a build's compiler sees them: NVRTC compiles them when a model is loaded, which
// is late to hear of a mistake. Nothing here runs.
#include "matmul.cuh"
#include "matmul_hopper.cuh"
#include "perceptron.cuh"
#include "short_attention.cuh"
#include "target_attention.cuh"

namespace wgsl {

struct ProductParameters {
  u32 m, n, k, batches, batch_inner;
  u32 a_start, a_row, a_column, a_outer, a_inner;
  u32 b_start, b_row, b_column, b_outer, b_inner;
};

struct ProductKernel {
  const ProductParameters *blocks;
  Reading<f32> a, b;
  Writing<f32> out;
  BRAID_DEVICE void store(u32, u32, u32, u32 row, u32 column, f32 value) const { out[row * blocks[0].n + column] = value; }
  BRAID_DEVICE void store(u32, u32, u32, u32 row, u32 column, f32 v, f32 w, f32 x, f32 y) const {
    for (u32 i = 0; i < 4; i++) store(0, 0, 0, row + i / 2 * 8, column + i % 2, i == 0 ? v : i == 1 ? w : i == 2 ? x : y);
  }
  BRAID_DEVICE void store(u32, u32, u32, u32 row, u32 column, const vec4<f32> &four) const {
    for (u32 i = 0; i < 4; i++) store(0, 0, 0, row, column + i, four[i]);
  }
};

template <class Tile> __global__ void __launch_bounds__(Tile::threads) product(ProductKernel kernel) { Tile::run(kernel); }

template __global__ void product<TensorTile<128, 128, 64, 32, 3, Loads::Along, Loads::Across>>(ProductKernel);
template __global__ void product<TensorTile<64, 64, 32, 32, 3, Loads::WordsAlong, Loads::WordsAcross>>(ProductKernel);
template __global__ void product<TensorTile<128, 64, 32, 32, 2, Loads::Along, Loads::Along>>(ProductKernel);

// Only 9.0 has what these multiply with.
template <class Tile> __global__ void __launch_bounds__(Tile::threads) groups(ProductKernel kernel) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  Tile::run(kernel);
#endif
}

template __global__ void groups<HopperTile<2, 256, 1, 4, true, true>>(ProductKernel);
template __global__ void groups<HopperTile<1, 128, 1, 4, false, true>>(ProductKernel);
template __global__ void groups<HopperTile<1, 64, 1, 4, true, false>>(ProductKernel);
template __global__ void groups<HopperTile<1, 32, 4, 4, true, false>>(ProductKernel);

struct PerceptronParameters {
  u32 m, weights_start;
  f32 epsilon;
};

struct PerceptronKernel {
  const PerceptronParameters *blocks;
  Reading<f32> x, weights;
  Writing<vec4<f32>> out;
  BRAID_DEVICE u32 at_x(u32, u32 row) const { return row * 64; }
  BRAID_DEVICE f32 activate(u32, f32 v) const { return max(v, 0.0f); }
  BRAID_DEVICE vec4<f32> finish(u32, u32, u32, const vec4<f32> &v) const { return v; }
  BRAID_DEVICE void put(u32, u32 row, u32 column, const vec4<f32> &v) const { out[(row * 64 + column) / 4] = v; }
};

template <class Layers> __global__ void __launch_bounds__(Layers::threads) perceptron(PerceptronKernel kernel) {
  Layers::run(kernel);
}

template __global__ void perceptron<NativePerceptron<64, 256, 64, 8, 2, true>>(PerceptronKernel);
template __global__ void perceptron<NativePerceptron<64, 0, 64, 4, 1, false>>(PerceptronKernel);

struct ShortAttentionParameters {
  u32 count, k_step, v_step;
  f32 scale;
};

struct ShortAttentionKernel {
  const ShortAttentionParameters *blocks;
  Reading<f32> q, k, v;
  Writing<f32> out;
  BRAID_DEVICE u32 at_q(u32, u32 i) const { return i * 8; }
  BRAID_DEVICE u32 at_k(u32, u32 i) const { return i / 21 * 168; }
  BRAID_DEVICE u32 at_v(u32, u32 i) const { return i / 21 * 168; }
  BRAID_DEVICE u32 at_out(u32, u32 i) const { return i * 8; }
  BRAID_DEVICE f32 mask_of(u32, u32, u32) const { return 0.0f; }
};

__global__ void __launch_bounds__(128) shortAttention(ShortAttentionKernel kernel) {
  ShortAttention<8, 8, 21, true>::run(kernel);
}

struct AttentionParameters {
  u32 m, weights_start, k_start, k_row, k_step, c_start, c_row, c_column, q_start, q_row, q_column, out_start, out_row, out_column;
};

struct AttentionKernel {
  const AttentionParameters *blocks;
  Reading<vec4<f32>> keys, weights;
  Reading<f32> c, q;
  Writing<f32> out;
  BRAID_DEVICE f32 activate_first(u32, u32, u32, f32 x) const { return max(x, 0.0f); }
  BRAID_DEVICE f32 activate_second(u32, f32 x) const { return max(x, 0.0f); }
  BRAID_DEVICE f32 finish_score(u32, u32, u32, f32 score) const { return score; }
};

__global__ void __launch_bounds__(256) attention(AttentionKernel kernel) {
  TargetAttention<100, 128, 80, 80, 40>::run(kernel, {0, 1, 2, 3, 4, 5});
}

} // namespace wgsl
