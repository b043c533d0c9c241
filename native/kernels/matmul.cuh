// Matrix products on matrix units: C = A B with operands in TF32 or float16, rounded to nearest, and float32 sums.
// shaders/matmul_native.ts writes the module around it: parameters, buffers, and `store`, which finishes an element.
#pragma once

#include "tensor.cuh"

namespace wgsl {

// How an operand comes from memory: four elements of a row of A or of a column of B at a time (Along), four columns of B at a
// time (Across), or single words, whatever the strides, neighbouring threads along k or across columns.
enum class Loads { Along, Across, WordsAlong, WordsAcross };

// A tile of tileM x tileN a block, one of warpM x warpN a warp; steps of 32 along k, `stages` of them in shared memory.
// `halves`: operands are multiplied in float16.
template <int tileM, int tileN, int warpM, int warpN, int stages, Loads loadsA, Loads loadsB, bool halves> struct TensorTile {
  static constexpr int tileK = 32;
  static constexpr int warpsN = tileN / warpN;
  static constexpr int threads = 32 * (tileM / warpM) * warpsN;
  // Lines of shared memory are padded so that no two lanes of a load meet in a bank.
  static constexpr int lineA = tileK + 4;
  static constexpr bool bByColumns = loadsB == Loads::Along || loadsB == Loads::WordsAlong;
  static constexpr int lineB = bByColumns ? tileK + 4 : tileN + 8;
  static constexpr int sizeA = tileM * lineA;
  static constexpr int sizeB = bByColumns ? tileN * lineB : tileK * lineB;
  static constexpr int partsM = warpM / 16;
  static constexpr int partsN = warpN / 8;
  static_assert(partsN % 2 == 0, "columns are loaded by 16");

  struct Operand {
    const f32 *data;
    u32 size, k, row, column;
  };

  // Brings `lines` lines of `tileK` elements along k, from line `first` of `size` on, to lines of shared memory.
  template <int lines, int pitch, bool isVector>
  static BRAID_DEVICE void fetchAlong(f32 *to, const f32 *data, u32 first, u32 size, u32 stride, u32 kStride, u32 k0, u32 k) {
    constexpr int perLine = isVector ? tileK / 4 : tileK, apart = threads / perLine;
    const u32 line = threadIdx.x / perLine, at = threadIdx.x % perLine * (tileK / perLine);
    const f32 *from = data + (first + line) * stride + (k0 + at) * (isVector ? 1 : kStride);
    const bool inK = k0 + at < k;
    to += line * pitch + at;
#pragma unroll
    for (int i = 0; i < lines / apart; i++) {
      const bool inside = inK && first + line + i * apart < size;
      if constexpr (isVector) copyFour(to + i * apart * pitch, inside ? from + i * apart * stride : data, inside);
      else copyOne(to + i * apart * pitch, inside ? from + i * apart * stride : data, inside);
    }
  }

  // Brings `tileK` lines of `tileN` columns, from column `first` of `size` on.
  template <bool isVector>
  static BRAID_DEVICE void fetchAcross(f32 *to, const f32 *data, u32 first, u32 size, u32 stride, u32 kStride, u32 k0, u32 k) {
    constexpr int perLine = isVector ? tileN / 4 : tileN, apart = threads / perLine;
    const u32 line = threadIdx.x / perLine, at = threadIdx.x % perLine * (tileN / perLine);
    const f32 *from = data + (first + at) * (isVector ? 1 : stride) + (k0 + line) * kStride;
    const bool inN = first + at < size;
    to += line * lineB + at;
#pragma unroll
    for (int i = 0; i < tileK / apart; i++) {
      const bool inside = inN && k0 + line + i * apart < k;
      if constexpr (isVector) copyFour(to + i * apart * lineB, inside ? from + i * apart * kStride : data, inside);
      else copyOne(to + i * apart * lineB, inside ? from + i * apart * kStride : data, inside);
    }
  }

  // `first` is the tile's first row of A.
  static BRAID_DEVICE void fetchA(f32 *to, const Operand &a, u32 first, u32 k0) {
    fetchAlong<tileM, lineA, loadsA == Loads::Along>(to, a.data, first, a.size, a.row, a.column, k0, a.k);
  }

  // `first` is the tile's first column of B.
  static BRAID_DEVICE void fetchB(f32 *to, const Operand &b, u32 first, u32 k0) {
    if constexpr (bByColumns)
      fetchAlong<tileN, lineB, loadsB == Loads::Along>(to, b.data, first, b.size, b.column, b.row, k0, b.k);
    else
      fetchAcross<loadsB == Loads::Across>(to, b.data, first, b.size, b.column, b.row, k0, b.k);
  }

  // Both operands of 8 along k from kk on.
  static BRAID_DEVICE void load(u32 (&fa)[partsM][4], u32 (&fb)[partsN][2], const f32 *a, const f32 *b, u32 warpRow,
                                u32 warpColumn, int kk) {
    u32 lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < partsM; i++) {
      loadMatrices(fa[i], a + (warpRow + i * 16 + lane % 16) * lineA + kk + lane / 16 * 4);
#pragma unroll
      for (int j = 0; j < 4; j++) fa[i][j] = Units<halves>::rounded(fa[i][j]);
    }
    if constexpr (bByColumns) {
#pragma unroll
      for (int i = 0; i < partsN; i += 2) {
        u32 four[4];
        loadMatrices(four, b + (warpColumn + i * 8 + lane % 8 + lane / 16 * 8) * lineB + kk + lane / 8 % 2 * 4);
        fb[i][0] = Units<halves>::rounded(four[0]);
        fb[i][1] = Units<halves>::rounded(four[1]);
        fb[i + 1][0] = Units<halves>::rounded(four[2]);
        fb[i + 1][1] = Units<halves>::rounded(four[3]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < partsN; i++) {
        const f32 *at = b + (kk + lane % 4) * lineB + warpColumn + i * 8 + lane / 4;
        fb[i][0] = Units<halves>::rounded(at[0]);
        fb[i][1] = Units<halves>::rounded(at[4 * lineB]);
      }
    }
  }

  static BRAID_DEVICE void step(f32 (&c)[partsM][partsN][4], const f32 *a, const f32 *b, u32 warpRow, u32 warpColumn) {
    constexpr int each = halves ? 2 : 1;
#pragma unroll
    for (int kk = 0; kk < tileK; kk += 8 * each) {
      u32 fa[each][partsM][4], fb[each][partsN][2];
#pragma unroll
      for (int s = 0; s < each; s++) load(fa[s], fb[s], a, b, warpRow, warpColumn, kk + 8 * s);
      if constexpr (halves) {
        u32 lines[partsM][4], columns[partsN][2];
#pragma unroll
        for (int i = 0; i < partsM; i++) packLines(lines[i], fa[0][i], fa[1][i]);
#pragma unroll
        for (int j = 0; j < partsN; j++)
#pragma unroll
          for (int s = 0; s < 2; s++) columns[j][s] = packHalves(fb[s][j][0], fb[s][j][1]);
#pragma unroll
        for (int i = 0; i < partsM; i++)
#pragma unroll
          for (int j = 0; j < partsN; j++) multiplyHalves(c[i][j], lines[i], columns[j][0], columns[j][1]);
      } else {
#pragma unroll
        for (int i = 0; i < partsM; i++)
#pragma unroll
          for (int j = 0; j < partsN; j++) multiply(c[i][j], fa[0][i], fb[0][j][0], fb[0][j][1]);
      }
    }
  }

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    extern __shared__ f32 memory[];
    const u32 z = blockIdx.z;
    const auto &p = kernel.blocks[z];
    const u32 m = p.m, n = p.n, k = p.k;
    const u32 tilesM = (m + tileM - 1) / tileM, tilesN = (n + tileN - 1) / tileN;
    const u32 tiles = tilesM * tilesN * p.batches;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 warpRow = warp / warpsN * warpM, warpColumn = warp % warpsN * warpN;
    const u32 steps = (k + tileK - 1) / tileK;
    for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const u32 batch = tile / (tilesM * tilesN), inBatch = tile % (tilesM * tilesN);
      const u32 row0 = inBatch / tilesN * tileM, column0 = inBatch % tilesN * tileN;
      const u32 outer = batch / p.batch_inner, inner = batch % p.batch_inner;
      const Operand a = {kernel.a.data + p.a_start + outer * p.a_outer + inner * p.a_inner, m, k, p.a_row, p.a_column};
      const Operand b = {kernel.b.data + p.b_start + outer * p.b_outer + inner * p.b_inner, n, k, p.b_row, p.b_column};
      f32 c[partsM][partsN][4] = {};
#pragma unroll
      for (int s = 0; s < stages - 1; s++) {
        f32 *stage = memory + s * (sizeA + sizeB);
        if (s < (int)steps) {
          fetchA(stage, a, row0, s * tileK);
          fetchB(stage + sizeA, b, column0, s * tileK);
        }
        endCopies();
      }
      for (u32 s = 0; s < steps; s++) {
        awaitCopies<stages - 2>();
        __syncthreads();
        const u32 ahead = s + stages - 1;
        if (ahead < steps) {
          f32 *stage = memory + ahead % stages * (sizeA + sizeB);
          fetchA(stage, a, row0, ahead * tileK);
          fetchB(stage + sizeA, b, column0, ahead * tileK);
        }
        endCopies();
        const f32 *stage = memory + s % stages * (sizeA + sizeB);
        step(c, stage, stage + sizeA, warpRow, warpColumn);
      }
      __syncthreads();
#pragma unroll
      for (int i = 0; i < partsM; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const u32 row = row0 + warpRow + i * 16 + half * 8 + lane / 4;
          if (row >= m) continue;
#pragma unroll
          for (int j = 0; j < partsN; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
              const u32 column = column0 + warpColumn + j * 8 + lane % 4 * 2 + e;
              if (column < n) kernel.store(z, outer, inner, row, column, c[i][j][half * 2 + e]);
            }
        }
    }
  }
};

} // namespace wgsl
