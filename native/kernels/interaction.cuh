// The pairwise interaction of a row's vectors on matrix units, in TF32 or float16; what it computes is said in shaders/interaction.ts.
// shaders/interaction_native.ts writes the module around it: parameters, buffers, and where vectors are looked up, `report`.
#pragma once

#include "lookup.cuh"
#include "tensor.cuh"

namespace wgsl {

// A warp takes a row, whose vectors lie in its shared memory: an operand's lines and columns are the same words of them.
// Vectors are rows of the `tables` that `source` names, or lie in `x`. Operands: x, places, indices, tables.
template <int vectors, int width, int columns, int copies, int tables, bool wide, int warps, bool halves>
struct UnitInteraction {
  static constexpr int threads = 32 * warps;
  static constexpr int fours = width / 4;
  // Padded so that no two lanes of a load meet in a bank.
  static constexpr int line = width + 4;
  static constexpr int resultAt = vectors * line;
  static constexpr int warpWords = resultAt + (columns + 3) / 4 * 4;
  // Lines by sixteens; each is multiplied with the eights of columns up to its end.
  static constexpr int parts = (vectors + 15) / 16;
  static constexpr int blocks = parts * (parts + 1);
  static constexpr u32 nowhere = 0xffffffffu;
  static_assert(vectors <= 32 && width % 8 == 0, "a lane has a vector, and matrix units take 8 features");

  // Where tiles have the product of vectors a and b: interactionPlace in shaders/interaction.ts.
  static BRAID_DEVICE u32 placeOf(const u32 *places, u32 a, u32 b) {
    constexpr u32 groups = (vectors + 3) / 4;
    if (a >= vectors || b > a) return nowhere;
    const bool turned = a % groups < b % groups;
    const u32 first = turned ? b : a, second = turned ? a : b;
    const u32 row = first % groups, column = second % groups;
    return __ldg(places + (row * (row + 1) / 2 + column) * 16 + first / groups * 4 + second / groups);
  }

  template <class Kernel, class Place> static BRAID_DEVICE void run(const Kernel &kernel, const Place *operands) {
    extern __shared__ f32 whole[];
    const u32 z = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const auto &p = kernel.blocks[z];
    f32 *memory = whole + warp * warpWords, *result = memory + resultAt;
    const u32 *tilePlaces = (const u32 *)kernel.places.data + p.places_start;
    u32 places[blocks][4];
#pragma unroll
    for (int i = 0; i < parts; i++)
#pragma unroll
      for (int j = 0; j < 2 * i + 2; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          places[i * (i + 1) + j][e] = placeOf(tilePlaces, i * 16 + g + e / 2 * 8, j * 8 + t * 2 + e % 2);
    // What this lane's vector is a row of.
    const u32 vector = min(lane, (u32)vectors - 1);
    const f32 *table = (const f32 *)kernel.x.data + p.x_start + vector * p.x_vector;
    const void *ids = nullptr;
    u32 idsAt = 0, idsRow = 0, size = 0, runs = 1, code = 0, stride = 0;
    if constexpr (tables > 0) {
      const u32 source = p.source[vector / 4][vector % 4];
      if (source > 0) {
        ids = operands[1 + source].data;
        table = (const f32 *)operands[1 + tables + source].data + p.table_start[vector / 4][vector % 4];
        stride = p.table_row[vector / 4][vector % 4];
        idsAt = p.ids_start[vector / 4][vector % 4];
        idsRow = p.ids_row[vector / 4][vector % 4];
        size = p.size[vector / 4][vector % 4];
        runs = p.row_runs[vector / 4][vector % 4];
        code = p.code[vector / 4][vector % 4];
      }
    }
    const u32 step = gridDim.x * warps;
    u32 row = warp * gridDim.x + blockIdx.x;
    vec2<u32> raw(0, 0);
    if (row < p.m && ids) raw = readId<wide>(ids, idsAt + row * idsRow);
    for (; row < p.m; row += step) {
      const f32 *from = table + row * p.x_row;
      if constexpr (tables > 0)
        if (ids) {
          const u32 found = rowOf(raw, size);
          from = found == kNoRow ? nullptr : table + found * stride;
          if (found == kNoRow && lane < vectors) kernel.report(row / runs, code, row % runs, raw);
          // The next row's is on its way meanwhile.
          if (row + step < p.m) raw = readId<wide>(ids, idsAt + (row + step) * idsRow);
        }
#pragma unroll
      for (int i0 = 0; i0 < vectors * fours; i0 += 32) {
        const u32 i = i0 + lane, v = min(i / fours, (u32)vectors - 1);
        const f32 *data = (const f32 *)__shfl_sync(0xffffffffu, (unsigned long long)from, v);
        if (vectors * fours % 32 == 0 || i < vectors * fours)
          copyRow(memory + v * line + i % fours * 4, data ? data + i % fours * 4 : table, data != nullptr);
      }
      endCopies();
      awaitCopies<0>();
      __syncwarp();
      f32 c[blocks][4] = {};
#pragma unroll 4
      for (int k = 0; k < width; k += 8) {
        u32 a[parts][4];
#pragma unroll
        for (int i = 0; i < parts; i++) {
          loadMatrices(a[i], memory + min(i * 16 + lane % 16, (u32)vectors - 1) * line + lane / 16 * 4 + k);
#pragma unroll
          for (int e = 0; e < 4; e++) a[i][e] = Units<halves>::rounded(a[i][e]);
        }
#pragma unroll
        for (int i = 0; i < parts; i++)
#pragma unroll
          for (int j = 0; j < 2 * i + 2; j++)
            Units<halves>::multiply(c[i * (i + 1) + j], a[i], a[j / 2][j % 2], a[j / 2][j % 2 + 2]);
      }
#pragma unroll
      for (int b = 0; b < blocks; b++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (places[b][e] != nowhere) result[places[b][e]] = c[b][e];
#pragma unroll
      for (int i = 0; i < copies; i++) {
        const f32 *copied = memory + p.copy_from[i / 4][i % 4] * line;
        for (u32 f = lane; f < width; f += 32) result[p.copy_to[i / 4][i % 4] + f] = copied[f];
      }
      __syncwarp();
      f32 *out = kernel.out.data + p.out_start + row * p.out_row;
      if (p.out_column == 1 && (p.out_start | p.out_row) % 4 == 0) {
        for (u32 i = lane * 4; i + 4 <= columns; i += 128) *(float4 *)(out + i) = *(const float4 *)(result + i);
        if (columns % 4 != 0 && lane < columns % 4) out[columns / 4 * 4 + lane] = result[columns / 4 * 4 + lane];
      } else {
        for (u32 i = lane; i < columns; i += 32) out[i * p.out_column] = result[i];
      }
      __syncwarp();
    }
  }
};

} // namespace wgsl
