// Rows of tables for indices, all tables of a model in one launch; what it computes is said in shaders/gather.ts.
// shaders/rows_native.ts writes the module around it: parameters, buffers, `report`.
#pragma once

#include "lookup.cuh"

namespace wgsl {

enum class Stored { Float32, Float16, Int8 };

// Four neighbouring elements of a row: element `at` of a table, or byte `at` of codes, whose rows begin behind their scale and
// offset.
template <Stored stored> struct RowReader;

template <> struct RowReader<Stored::Float32> {
  const float *data;
  BRAID_DEVICE RowReader(const void *table, u32 row) : data((const float *)table + row) {}
  BRAID_DEVICE float4 four(u32 e) const { return __ldg((const float4 *)(data + e)); }
};

template <> struct RowReader<Stored::Float16> {
  const unsigned short *data;
  BRAID_DEVICE RowReader(const void *table, u32 row) : data((const unsigned short *)table + row) {}
  BRAID_DEVICE float4 four(u32 e) const {
    const uint2 words = __ldg((const uint2 *)(data + e));
    const vec2<f32> low = unpack2x16float(words.x), high = unpack2x16float(words.y);
    return make_float4(low.x, low.y, high.x, high.y);
  }
};

template <> struct RowReader<Stored::Int8> {
  const signed char *data;
  BRAID_DEVICE RowReader(const void *table, u32 row) : data((const signed char *)table + row) {}
  BRAID_DEVICE float4 four(u32 e) const {
    // Rows begin on whole words, not on pairs of them.
    const f32 scale = __ldg((const f32 *)data - 2), offset = __ldg((const f32 *)data - 1);
    const int codes = __ldg((const int *)(data + e));
    const auto widened = [&](int shift) { return fma((f32)(codes << (24 - shift) >> 24), scale, offset); };
    return make_float4(widened(0), widened(8), widened(16), widened(24));
  }
};

// Threads share an index by fours of its row's elements, or one by one where rows do not come in fours.
template <Stored stored, bool wide> struct RowLookup {
  static constexpr int threads = 256;

  template <bool fours, class Kernel> static BRAID_DEVICE void copy(const Kernel &kernel) {
    const auto &p = kernel.blocks[blockIdx.z];
    const u32 lanes = fours ? p.width / 4 : p.width, items = p.count * lanes;
    const void *table = kernel.data.data;
    for (u32 item = blockIdx.x * threads + threadIdx.x; item < items; item += gridDim.x * threads) {
      const u32 i = item / lanes, element = item % lanes * (fours ? 4 : 1);
      const vec2<u32> raw = readId<wide>(kernel.ids.data, p.ids_start + i * p.ids_row);
      const u32 row = rowOf(raw, p.size);
      float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (row == kNoRow) {
        // Of a table in several parts the first reports what is outside.
        if (p.first != 0) continue;
        if (element == 0) kernel.report(i / p.row_runs, p.code, i % p.row_runs, raw);
      } else {
        if (row - p.first >= p.held) continue;
        const u32 at = p.table_start + (row - p.first) * p.table_row;
        if constexpr (fours) value = RowReader<stored>(table, at).four(element);
        else value.x = __ldg((const f32 *)table + at + element);
      }
      f32 *to = kernel.out.data + p.out_start + i * p.out_row + element;
      if constexpr (fours) *(float4 *)to = value;
      else *to = value.x;
    }
  }

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    if (stored != Stored::Float32 || kernel.blocks[blockIdx.z].fours != 0) copy<true>(kernel);
    else copy<false>(kernel);
  }
};

} // namespace wgsl
