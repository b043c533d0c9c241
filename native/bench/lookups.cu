// Rows of tables by the kernel of lookup_rows.cuh, as DLRM looks them up: 26 tables of 100,000 rows of 128, beside the rate of a copy in
// the same run. Every result is checked.
//
//   nvcc -std=c++17 -O3 -gencode arch=compute_90a,code=sm_90a -I native/kernels native/bench/lookups.cu -o lookups && ./lookups
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "lookup_rows.cuh"
#include "timing.cuh"

using namespace wgsl;

static constexpr u32 kTables = 26, kRows = 100000, kWidth = 128, kBatch = 7680;

struct Parameters {
  u32 count, width, fours, first, held, size, row_runs, code, table_start, table_row, ids_start, ids_row, out_start, out_row;
};
struct Blocks {
  Parameters of[kTables];
};

struct Kernel {
  const Parameters *blocks;
  Reading<u32> data;
  Reading<vec2<u32>> ids;
  Writing<f32> out;
  BRAID_DEVICE void report(u32, u32, u32, const vec2<u32> &) const { __trap(); }
};

template <Stored stored>
__global__ void __launch_bounds__(256, 4) lookUp(const __grid_constant__ Blocks blocks, const void *tables, const void *ids, f32 *out) {
  const Kernel kernel{blocks.of, {tables, ~0ull >> 30}, {ids, kBatch * kTables * 8}, {out, (unsigned long long)kBatch * kTables * kWidth * 4}};
  RowLookup<stored, true>::run(kernel);
}

__device__ u32 scrambled(u32 i) {
  i = (i ^ i >> 16) * 0x7feb352du;
  i = (i ^ i >> 15) * 0x846ca68bu;
  return i ^ i >> 16;
}

// Elements are small numbers that every type holds: of codes the scale is 1 and the offset 0.
__device__ int elementAt(u32 row, u32 column) { return (int)(scrambled(row * kWidth + column) % 200) - 100; }

template <Stored stored> constexpr u32 kPitch = stored == Stored::Int8 ? kWidth + 8 : kWidth;

template <Stored stored> __global__ void fill(void *tables) {
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < kTables * kRows * kWidth; i += gridDim.x * blockDim.x) {
    const u32 row = i / kWidth, column = i % kWidth;
    const f32 value = elementAt(row, column);
    if (stored == Stored::Float32) ((f32 *)tables)[i] = value;
    if (stored == Stored::Float16) {
      unsigned short half;
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
      ((unsigned short *)tables)[i] = half;
    }
    if (stored == Stored::Int8) {
      char *at = (char *)tables + (size_t)row * kPitch<stored>;
      at[8 + column] = (char)(int)value;
      if (column == 0) ((f32 *)at)[0] = 1.0f, ((f32 *)at)[1] = 0.0f;
    }
  }
}

__global__ void fillIds(uint2 *ids) {
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < kBatch * kTables; i += gridDim.x * blockDim.x)
    ids[i] = make_uint2(scrambled(i + 77) % kRows, 0);
}

__global__ void compare(const uint2 *ids, const f32 *out, u32 *wrong) {
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < kBatch * kTables * kWidth; i += gridDim.x * blockDim.x) {
    const u32 place = i / kWidth, table = place % kTables;
    if (out[i] != elementAt(table * kRows + ids[place].x, i % kWidth)) atomicAdd(wrong, 1);
  }
}

__global__ void copyFours(const float4 *from, float4 *to, u32 count) {
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) to[i] = from[i];
}

template <Stored stored> static void measure(const char *name, f32 copyRate) {
  const u32 bytesOfElement = stored == Stored::Float32 ? 4 : stored == Stored::Float16 ? 2 : 1;
  void *tables;
  uint2 *ids;
  f32 *out;
  u32 *wrong, found = 0;
  check(cudaMalloc(&tables, (size_t)kTables * kRows * kPitch<stored> * bytesOfElement));
  check(cudaMalloc(&ids, kBatch * kTables * 8));
  check(cudaMalloc(&out, (size_t)kBatch * kTables * kWidth * 4));
  check(cudaMalloc(&wrong, 4));
  fill<stored><<<1024, 256>>>(tables);
  fillIds<<<256, 256>>>(ids);
  Blocks blocks;
  for (u32 t = 0; t < kTables; t++)
    blocks.of[t] = {kBatch, kWidth, 1, 0, kRows, kRows, 1, 0, t * kRows * kPitch<stored> + (stored == Stored::Int8 ? 8 : 0),
                    kPitch<stored>, t, kTables, t * kWidth, kTables * kWidth};
  const dim3 grid((kBatch * kWidth / 4 + 255) / 256, 1, kTables);
  const f32 us = timeOf([&] { lookUp<stored><<<grid, 256>>>(blocks, tables, ids, out); });
  check(cudaMemset(wrong, 0, 4));
  compare<<<1024, 256>>>(ids, out, wrong);
  check(cudaMemcpy(&found, wrong, 4, cudaMemcpyDeviceToHost));
  const double read = (double)kBatch * kTables * (kWidth * bytesOfElement + (stored == Stored::Int8 ? 8 : 0) + 8);
  const double rate = (read + (double)kBatch * kTables * kWidth * 4) / us * 1e-3;
  std::printf("%s: %.1f us, %.0f GB/s, %.0f %% of the copy%s\n", name, us, rate, 100 * rate / copyRate, found ? ", WRONG" : "");
  for (void *data : {tables, (void *)ids, (void *)out, (void *)wrong}) check(cudaFree(data));
}

int main() {
  const size_t bytes = 1u << 29;
  void *from, *to;
  check(cudaMalloc(&from, bytes));
  check(cudaMalloc(&to, bytes));
  // An idle GPU runs slowly at first.
  for (int i = 0; i < 200; i++) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice));
  const f32 engine = timeOf([&] { check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice)); });
  const f32 kernel = timeOf([&] { copyFours<<<132 * 8, 256>>>((const float4 *)from, (float4 *)to, bytes / 16); });
  const f32 rate = 2 * bytes / std::min(engine, kernel) * 1e-3f;
  std::printf("copy of %zu MiB: cudaMemcpy %.0f GB/s, kernel %.0f GB/s\n", bytes >> 20, 2 * bytes / engine * 1e-3, 2 * bytes / kernel * 1e-3);
  check(cudaFree(from));
  check(cudaFree(to));
  measure<Stored::Float32>("float32", rate);
  measure<Stored::Float16>("float16", rate);
  measure<Stored::Int8>("int8", rate);
}
