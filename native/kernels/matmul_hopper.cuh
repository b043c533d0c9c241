// Matrix products on the matrix units of compute capability 9.0, by groups of four warps: C = A B with operands in TF32, both
// from shared memory, or in float16, A from registers, and float32 sums. Of TF32 the units drop the bits of float32 that it has
// not; to float16 A is rounded to nearest on its way to registers. B has been rounded before. shaders/matmul_hopper.ts writes
// the module around it: parameters, buffers, and `store`, which finishes elements.
#pragma once

#include "groups.cuh"

namespace wgsl {

// Copies `bytes` of 16 in the background, and zeros for the rest.
BRAID_DEVICE void copySome(u32 to, const void *from, u32 bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
BRAID_DEVICE void copyWord(u32 to, const f32 *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(inside ? 4 : 0));
}

// What an element of B lies in memory as.
template <bool halves> struct WeightOf { typedef f32 Type; };
template <> struct WeightOf<true> { typedef unsigned short Type; };

// A tile of 64 `groups` x tileN a block; a step takes tileK `slices` along k, of which each slice has groups of its own, whose
// sums are added in the end. B lies column by column, of float16 where `halves`, columns a multiple of 16 bytes apart; A row by
// row, `inFours` where rows begin on multiples of 4; `outFours`: `store` takes four columns of a row, else two of a row and of
// that 8 below.
template <int groups, int tileN, int slices, int stages, bool inFours, bool outFours, bool halves> struct HopperTile {
  static constexpr int tileM = 64 * groups, tileK = halves ? 64 : 32;
  static constexpr int threads = 128 * groups * slices;
  // Bytes of a line along k. Of B it is what the units take at a time.
  static constexpr int lineA = 4 * tileK, lineB = 128;
  static constexpr int bytesA = tileM * lineA, bytesB = tileN * lineB;
  static constexpr int stageBytes = slices * (bytesA + bytesB);
  // One stage is multiplied and the one before may still be: the others are on their way.
  static constexpr int ahead = stages - 2;
  static_assert(ahead >= 1, "a stage has to be on its way");

  typedef u32 Lines[tileK / 16][4];

  // Where a line's sixteen of bytes lies: so that the units, or lanes that read two words of four lines, do not meet in a bank.
  template <int line> static BRAID_DEVICE u32 swapped(u32 sixteen, u32 row) {
    return line == 128 ? sixteen ^ row % 8 : sixteen ^ row % 4 * 2;
  }

  // `lines` lines of k from `first` of `size` on, and their tileK `slices` elements from k0 on; `stride` elements apart. `whole`:
  // by sixteens of bytes, else by words.
  template <int lines, bool whole, class Element>
  static BRAID_DEVICE void fetch(u32 to, const Element *data, u32 first, u32 size, u32 stride, u32 k0, u32 k) {
    constexpr int each = whole ? 16 / sizeof(Element) : 1, line = tileK * sizeof(Element);
    constexpr int perLine = tileK / each, chunks = lines * perLine;
    static_assert(chunks % threads == 0 || threads % chunks == 0, "threads share the lines evenly");
#pragma unroll
    for (int s = 0; s < slices; s++)
#pragma unroll
      for (int i = 0; i < (chunks + threads - 1) / threads; i++) {
        const u32 chunk = threadIdx.x + i * threads;
        if (chunks < threads && chunk >= chunks) break;
        const u32 row = chunk / perLine, at = chunk % perLine;
        const u32 kk = k0 + s * tileK + at * each;
        const bool inside = first + row < size && kk < k;
        const Element *from = inside ? data + (first + row) * stride + kk : data;
        const u32 place = to + s * (bytesA + bytesB) + row * line;
        if constexpr (whole)
          copySome(place + (swapped<line>(at, row) << 4), from, inside ? min(16u, (k - kk) * (u32)sizeof(Element)) : 0);
        else copyWord(place + (swapped<line>(at / 4, row) << 4) + at % 4 * 4, from, inside);
      }
  }

  // A warp's 16 lines of A as halves, in the registers that the units take them from.
  static BRAID_DEVICE void loadLines(Lines &lines, const char *a) {
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    a += (threadIdx.x / 32 % 4 * 16 + g) * lineA + t % 2 * 8;
#pragma unroll
    for (int kk = 0; kk < tileK / 16; kk++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const u32 sixteen = kk * 4 + e / 2 * 2 + t / 2;
        const uint2 two = *(const uint2 *)(a + e % 2 * 8 * lineA + (swapped<lineA>(sixteen, g) << 4));
        lines[kk][e] = packHalves(two.x, two.y);
      }
  }

  template <class Kernel> static BRAID_DEVICE void run(const Kernel &kernel) {
    extern __shared__ f32 memory[];
    const u32 base = (sharedAddress(memory) + 1023) / 1024 * 1024;
    const u32 z = blockIdx.z;
    const auto &p = kernel.blocks[z];
    const u32 m = p.m, n = p.n, k = p.k;
    const u32 tilesM = (m + tileM - 1) / tileM, tilesN = (n + tileN - 1) / tileN;
    const u32 tiles = tilesM * tilesN * p.batches;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 group = warp / 4 % groups, slice = warp / 4 / groups;
    const int steps = (k + tileK * slices - 1) / (tileK * slices);
    for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const u32 batch = tile / (tilesM * tilesN), inBatch = tile % (tilesM * tilesN);
      const u32 row0 = inBatch / tilesN * tileM, column0 = inBatch % tilesN * tileN;
      const u32 outer = batch / p.batch_inner, inner = batch % p.batch_inner;
      const f32 *a = kernel.a.data + p.a_start + outer * p.a_outer + inner * p.a_inner;
      const auto *b = (const typename WeightOf<halves>::Type *)kernel.b.data + p.b_start;
      const auto load = [&](int step) {
        if (step < steps) {
          const u32 stage = base + step % stages * stageBytes, k0 = step * tileK * slices;
          fetch<tileM, inFours>(stage, a, row0, m, p.a_row, k0, k);
          fetch<tileN, true>(stage + bytesA, b, column0, n, p.b_column, k0, k);
        }
        endCopies();
      };
      f32 c[tileN / 2] = {};
      for (int s = 0; s < ahead; s++) load(s);
      const auto take = [&](int s, Lines &lines) {
        awaitCopies<ahead - 1>();
        showUnits();
        __syncthreads();
        // All groups are done with the step before the last, whose stage this takes.
        load(s + ahead);
        const u32 mine = base + s % stages * stageBytes + slice * (bytesA + bytesB);
        const u64 db = describe(mine + bytesA);
        if constexpr (halves) {
          // The step before is still multiplied, out of other registers.
          loadLines(lines, (const char *)memory + (mine - sharedAddress(memory)) + group * 64 * lineA);
          beginGroup();
#pragma unroll
          for (int i = 0; i < tileK / 16; i++) multiplyGroupHalves(c, lines[i], db + 2 * i);
        } else {
          const u64 da = describe(mine + group * 64 * lineA);
          beginGroup();
#pragma unroll
          for (int i = 0; i < tileK / 8; i++) multiplyGroup(c, da + 2 * i, db + 2 * i);
        }
        endGroup();
        awaitGroups<1>();
      };
      Lines lines[2];
      if constexpr (halves) {
        for (int s = 1; s < steps; s += 2) {
          take(s - 1, lines[0]);
          take(s, lines[1]);
        }
        if (steps % 2 == 1) take(steps - 1, lines[0]);
      } else {
        for (int s = 0; s < steps; s++) take(s, lines[0]);
      }
      awaitGroups<0>();
      settle(c);
      awaitCopies<0>();
      __syncthreads();
      if constexpr (slices > 1) {
        f32 *sums = memory + (base - sharedAddress(memory)) / 4;
        const u32 thread = threadIdx.x % (128 * groups);
        if (slice > 0) {
#pragma unroll
          for (int i = 0; i < tileN / 2; i++) sums[((slice - 1) * (tileN / 2) + i) * 128 * groups + thread] = c[i];
        }
        __syncthreads();
        if (slice == 0) {
#pragma unroll
          for (int i = 0; i < tileN / 2; i++)
#pragma unroll
            for (int s = 0; s < slices - 1; s++) c[i] += sums[(s * (tileN / 2) + i) * 128 * groups + thread];
        }
      }
      if (slice == 0) {
        const u32 row = row0 + group * 64 + warp % 4 * 16 + lane / 4, column = column0 + lane % 4 * 2;
        if constexpr (outFours) {
          // Neighbours exchange halves: the first gets four columns of the upper row, the second of the lower.
          const bool lower = lane % 2 == 1;
          const u32 myRow = row + (lower ? 8 : 0), myColumn = column0 + lane % 4 / 2 * 4;
#pragma unroll
          for (int j = 0; j < tileN / 8; j++) {
            const f32 x = __shfl_xor_sync(0xffffffffu, lower ? c[4 * j] : c[4 * j + 2], 1);
            const f32 y = __shfl_xor_sync(0xffffffffu, lower ? c[4 * j + 1] : c[4 * j + 3], 1);
            const vec4<f32> four = lower ? vec4<f32>(x, y, c[4 * j + 2], c[4 * j + 3]) : vec4<f32>(c[4 * j], c[4 * j + 1], x, y);
            kernel.store(z, outer, inner, myRow, myColumn + j * 8, four);
          }
        } else {
#pragma unroll
          for (int j = 0; j < tileN / 8; j++)
            kernel.store(z, outer, inner, row, column + j * 8, c[4 * j], c[4 * j + 1], c[4 * j + 2], c[4 * j + 3]);
        }
      }
      __syncthreads();
    }
  }
};

} // namespace wgsl
