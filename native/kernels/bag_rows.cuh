// Sums of the rows of a table that bags of one length list, all tables of a model in one launch; what it computes is said in
// runtime/operators/embedding-bag. shaders/rows_native.ts writes the module around it: parameters, buffers, `report`.
#pragma once

#include "lookup_rows.cuh"

namespace wgsl {

// A thread has four elements of a bag's sum, and `flight` rows under way.
template <Stored stored, bool wide, int flight> struct RowBag {
  static constexpr int threads = 256;

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    const auto &p = kernel.blocks[blockIdx.z];
    const u32 lanes = (p.width + 3) / 4;
    for (u32 item = blockIdx.x * threads + threadIdx.x; item < p.bags * lanes; item += gridDim.x * threads) {
      const u32 bag = item / lanes, element = item % lanes * 4;
      const u32 idsAt = p.ids_start + bag * p.ids_row;
      float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      u32 used = 0;
      for (u32 begin = 0; begin < p.bag_length; begin += flight) {
        u32 row[flight];
        float4 value[flight];
#pragma unroll
        for (int f = 0; f < flight; f++) {
          row[f] = kNoRow;
          if (begin + f >= p.bag_length) continue;
          const vec2<u32> raw = readId<wide>(kernel.ids.data, idsAt + (begin + f) * p.ids_step);
          row[f] = rowOf(raw, p.size);
          const u32 at = bag * p.bag_length + begin + f;
          if (row[f] == kNoRow && element == 0) kernel.report(at / p.row_runs, p.code, at % p.row_runs, raw);
          if (row[f] == p.padding) row[f] = kNoRow;
        }
#pragma unroll
        for (int f = 0; f < flight; f++) {
          value[f] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          if (row[f] == kNoRow) continue;
          value[f] = RowReader<stored>(kernel.data.data, p.table_start + row[f] * p.table_row).four(element);
          used++;
        }
#pragma unroll
        for (int f = 0; f < flight; f++) {
          sum.x += value[f].x;
          sum.y += value[f].y;
          sum.z += value[f].z;
          sum.w += value[f].w;
        }
      }
      const f32 share = p.averages != 0 ? 1.0f / (f32)max(used, 1u) : 1.0f;
      const f32 four[4] = {sum.x * share, sum.y * share, sum.z * share, sum.w * share};
      f32 *to = kernel.out.data + p.out_start + bag * p.out_row + element * p.out_step;
#pragma unroll
      for (u32 e = 0; e < 4; e++)
        if (element + e < p.width) to[e * p.out_step] = four[e];
    }
  }
};

} // namespace wgsl
