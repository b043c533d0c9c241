// Compiles the kernels that are templates as a build's compiler sees them: NVRTC compiles them when a model is loaded, which
// is late to hear of a mistake. Nothing here runs.
#include "matmul.cuh"
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
};

template <class Tile> __global__ void __launch_bounds__(Tile::threads) product(ProductKernel kernel) { Tile::run(kernel); }

template __global__ void product<TensorTile<128, 128, 64, 32, 3, Loads::Along, Loads::Across>>(ProductKernel);
template __global__ void product<TensorTile<64, 64, 32, 32, 3, Loads::WordsAlong, Loads::WordsAcross>>(ProductKernel);
template __global__ void product<TensorTile<128, 64, 32, 32, 2, Loads::Along, Loads::Along>>(ProductKernel);

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
