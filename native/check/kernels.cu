// Compiles the kernels that are templates as a build's compiler sees them: NVRTC compiles them when a model is loaded, which
// is late to hear of a mistake. Nothing here runs.
#include "bag_rows.cuh"
#include "interaction.cuh"
#include "lookup_rows.cuh"
#include "matmul.cuh"
#include "matmul_hopper.cuh"
#include "perceptron.cuh"
#include "self_attention.cuh"
#include "short_attention.cuh"
#include "target_attention.cuh"
#include "target_attention_groups.cuh"

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

template __global__ void product<TensorTile<128, 128, 64, 32, 3, Loads::Along, Loads::Across, false>>(ProductKernel);
template __global__ void product<TensorTile<64, 64, 32, 32, 3, Loads::WordsAlong, Loads::WordsAcross, true>>(ProductKernel);
template __global__ void product<TensorTile<128, 64, 32, 32, 2, Loads::Along, Loads::Along, false>>(ProductKernel);
template __global__ void product<TensorTile<128, 128, 64, 32, 3, Loads::Along, Loads::Along, true>>(ProductKernel);

// Only 9.0 has what these multiply with.
template <class Tile> __global__ void __launch_bounds__(Tile::threads) groups(ProductKernel kernel) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  Tile::run(kernel);
#endif
}

template __global__ void groups<HopperTile<2, 256, 1, 4, true, true, false>>(ProductKernel);
template __global__ void groups<HopperTile<1, 128, 1, 4, false, true, false>>(ProductKernel);
template __global__ void groups<HopperTile<1, 64, 1, 4, true, false, false>>(ProductKernel);
template __global__ void groups<HopperTile<1, 32, 4, 4, true, false, false>>(ProductKernel);
template __global__ void groups<HopperTile<2, 256, 1, 3, true, true, true>>(ProductKernel);
template __global__ void groups<HopperTile<1, 128, 1, 3, false, true, true>>(ProductKernel);
template __global__ void groups<HopperTile<1, 64, 1, 3, true, false, true>>(ProductKernel);
template __global__ void groups<HopperTile<1, 32, 2, 4, true, false, true>>(ProductKernel);

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

template __global__ void perceptron<NativePerceptron<64, 256, 64, 8, 2, true, false>>(PerceptronKernel);
template __global__ void perceptron<NativePerceptron<64, 0, 64, 4, 1, false, false>>(PerceptronKernel);
template __global__ void perceptron<NativePerceptron<64, 256, 64, 8, 2, true, true>>(PerceptronKernel);

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

struct LookupParameters {
  u32 count, width, fours, first, held, size, row_runs, code, table_start, table_row, ids_start, ids_row, out_start, out_row;
};

struct LookupKernel {
  const LookupParameters *blocks;
  Reading<u32> data;
  Reading<vec2<u32>> ids;
  Writing<f32> out;
  BRAID_DEVICE void report(u32, u32, u32, const vec2<u32> &) const {}
};

template <class Lookup> __global__ void __launch_bounds__(256, 4) lookUp(LookupKernel kernel) { Lookup::run(kernel); }

template __global__ void lookUp<RowLookup<Stored::Float32, true>>(LookupKernel);
template __global__ void lookUp<RowLookup<Stored::Float16, true>>(LookupKernel);
template __global__ void lookUp<RowLookup<Stored::Int8, false>>(LookupKernel);

struct BagParameters {
  u32 bags, bag_length, width, averages, padding, size, row_runs, code, table_start, table_row, ids_start, ids_row, ids_step;
  u32 out_start, out_row, out_step;
};

struct BagKernel {
  const BagParameters *blocks;
  Reading<u32> data;
  Reading<vec2<u32>> ids;
  Writing<f32> out;
  BRAID_DEVICE void report(u32, u32, u32, const vec2<u32> &) const {}
};

template <class Bag> __global__ void __launch_bounds__(256, 4) sumBags(BagKernel kernel) { Bag::run(kernel); }

template __global__ void sumBags<RowBag<Stored::Float32, true, 4>>(BagKernel);
template __global__ void sumBags<RowBag<Stored::Int8, false, 4>>(BagKernel);

struct SelfAttentionParameters {
  u32 sequences, weights_start, x_start, x_sequence, x_place, out_start, out_sequence, out_place, out_head, out_feature;
};

struct SelfAttentionKernel {
  const SelfAttentionParameters *blocks;
  Reading<f32> x, weights;
  Writing<f32> out;
};

template <bool halves> __global__ void __launch_bounds__(128, 3) selfAttention(SelfAttentionKernel kernel) {
  UnitSelfAttention<21, 64, 8, 4, halves>::run(kernel);
}

template __global__ void selfAttention<false>(SelfAttentionKernel);
template __global__ void selfAttention<true>(SelfAttentionKernel);

typedef array<vec4<u32>, 7> List;
struct InteractionParameters {
  u32 m, x_start, x_row, x_vector, places_start, out_start, out_row, out_column;
  List copy_from, copy_to, source, table_start, table_row, ids_start, ids_row, size, row_runs, code;
};

struct InteractionKernel {
  const InteractionParameters *blocks;
  Reading<f32> x;
  Reading<u32> places;
  Writing<f32> out;
  BRAID_DEVICE void report(u32, u32, u32, const vec2<u32> &) const {}
};

struct OperandPlace { const void *data; unsigned long long bytes; };
struct OperandPlaces { OperandPlace at[54]; };

template <bool halves>
__global__ void __launch_bounds__(448, 1) interaction(InteractionKernel kernel, const __grid_constant__ OperandPlaces places) {
  UnitInteraction<27, 128, 479, 1, 26, true, 14, halves>::run(kernel, places.at);
}

template __global__ void interaction<false>(InteractionKernel, const __grid_constant__ OperandPlaces);
template __global__ void interaction<true>(InteractionKernel, const __grid_constant__ OperandPlaces);

__global__ void __launch_bounds__(512, 1) interactionOfVectors(InteractionKernel kernel, const __grid_constant__ OperandPlaces places) {
  UnitInteraction<9, 24, 37, 0, 0, false, 16, false>::run(kernel, places.at);
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
  BRAID_DEVICE void touch_others(u32, u32, u32) const {}
};

struct LookingUpKernel : AttentionKernel {
  BRAID_DEVICE vec2<u32> read_id(u32, u32 source, u32 row, u32 key) const {
    return ((const vec2<u32> *)c.data)[(row * 2 + source) * 100 + key];
  }
  BRAID_DEVICE u32 find_row(u32, u32, u32, u32, vec2<u32> id) const { return id.y == 0 && id.x < 1000 ? id.x : 0xffffffffu; }
};

template <bool halves> __global__ void __launch_bounds__(512, 1) attentionByGroups(LookingUpKernel kernel) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const KeySource from[] = {{(const f32 *)kernel.keys.data, 64, 0}, {(const f32 *)kernel.keys.data + 64000, 64, 64}};
  GroupedTargetAttention<100, 128, 80, 80, 40, 2, 2, 2, halves>::run(kernel, {0, 1, 2, 3, 4, 5}, from);
#endif
}

template __global__ void attentionByGroups<false>(LookingUpKernel);
template __global__ void attentionByGroups<true>(LookingUpKernel);

template <bool halves> __global__ void __launch_bounds__(512, 1) attentionOfKeys(AttentionKernel kernel) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const KeySource from[] = {{(const f32 *)kernel.keys.data, 0, 0}};
  GroupedTargetAttention<50, 40, 36, 40, 15, 0, 1, 4, halves>::run(kernel, {0, 1, 2, 3, 4, 5}, from);
#endif
}

template __global__ void attentionOfKeys<false>(AttentionKernel);
template __global__ void attentionOfKeys<true>(AttentionKernel);

template <bool halves> __global__ void __launch_bounds__(256) attention(AttentionKernel kernel) {
  TargetAttention<100, 128, 80, 80, 40, halves>::run(kernel, {0, 1, 2, 3, 4, 5});
}

template __global__ void attention<false>(AttentionKernel);
template __global__ void attention<true>(AttentionKernel);

} // namespace wgsl
