// Times products on matrix units, tile by tile, and compares them with sums in float64. Needs a GPU of compute capability 9.0:
//   nvcc -gencode arch=compute_90a,code=sm_90a -std=c++17 -O3 -I native/kernels native/bench/products.cu -o products && ./products
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "matmul.cuh"
#include "matmul_hopper.cuh"
#include "timing.cuh"

namespace wgsl {

struct Parameters {
  u32 m, n, k, batches, batch_inner;
  u32 a_start, a_row, a_column, a_outer, a_inner;
  u32 b_start, b_row, b_column, b_outer, b_inner;
};

// relu(A B + bias), as the kernels that Braid makes store it.
struct Product {
  const Parameters *blocks;
  Reading<f32> a, b;
  Reading<vec4<f32>> bias;
  Writing<vec4<f32>> out;
  BRAID_DEVICE void store(u32, u32, u32, u32 row, u32 column, f32 value) const {
    const auto &p = blocks[0];
    if (row < p.m && column < p.n) ((f32 *)out.data)[row * p.n + column] = max(value + ((const f32 *)bias.data)[column], 0.0f);
  }
  BRAID_DEVICE void store(u32, u32, u32, u32 row, u32 column, const vec4<f32> &four) const {
    const auto &p = blocks[0];
    if (row < p.m && column < p.n) out[(row * p.n + column) / 4] = max(four + bias[column / 4], vec4<f32>(0.0f));
  }
};

struct Arguments {
  Parameters p;
  const f32 *a, *b, *bias;
  f32 *out;
};

template <class Tile, int residents>
__global__ void __launch_bounds__(Tile::threads, residents) run(const __grid_constant__ Arguments g) {
  const auto bytes = [](u32 rows, u32 columns) { return 4ull * rows * columns; };
  const Product product{&g.p,
                        {g.a, bytes(g.p.m, g.p.a_row)},
                        {g.b, bytes(g.p.n, g.p.b_column)},
                        {g.bias, bytes(1, g.p.n)},
                        {g.out, bytes(g.p.m, g.p.n)}};
  Tile::run(product);
}

__global__ void reference(const __grid_constant__ Arguments g) {
  const u32 i = blockIdx.x * 256 + threadIdx.x;
  if (i >= g.p.m * g.p.n) return;
  const u32 row = i / g.p.n, column = i % g.p.n;
  double sum = g.bias[column];
  for (u32 k = 0; k < g.p.k; k++) sum += (double)g.a[row * g.p.a_row + k] * g.b[column * g.p.b_column + k];
  g.out[i] = (f32)(sum > 0 ? sum : 0);
}

} // namespace wgsl

using namespace wgsl;

// So many numbers in [-1/2, 1/2).
static f32 *noise(size_t count, u32 seed) {
  std::vector<f32> host(count);
  for (f32 &value : host) value = (f32)((seed = seed * 1664525u + 1013904223u) >> 8) / 16777216.0f - 0.5f;
  f32 *data = nullptr;
  check(cudaMalloc(&data, count * 4));
  check(cudaMemcpy(data, host.data(), count * 4, cudaMemcpyHostToDevice));
  return data;
}

template <class Tile, int residents>
static void measure(const std::string &name, const Arguments &g, u32 tileM, u32 tileN, int sharedBytes, const std::vector<f32> &expected) {
  const auto kernel = run<Tile, residents>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sharedBytes));
  check(cudaMemset(g.out, 0, expected.size() * 4));
  const u32 grid = (g.p.m + tileM - 1) / tileM * ((g.p.n + tileN - 1) / tileN);
  const auto launch = [&] { kernel<<<grid, Tile::threads, sharedBytes>>>(g); };
  launch();
  std::vector<f32> found(expected.size());
  check(cudaMemcpy(found.data(), g.out, found.size() * 4, cudaMemcpyDeviceToHost));
  f32 worst = 0;
  for (size_t i = 0; i < found.size(); i++) worst = std::max(worst, std::fabs(found[i] - expected[i]));
  const f32 best = timeOf(launch);
  std::printf("  %-24s %8.2f us %7.1f TFLOP/s  error %.1e\n", name.c_str(), best, 2e-6 * g.p.m * g.p.n * g.p.k / best, worst);
}

template <int groups, int tileN, int slices, int stages, int residents>
static void measureGroups(const Arguments &g, const std::vector<f32> &expected) {
  using Tile = HopperTile<groups, tileN, slices, stages, true, true, false>;
  const std::string name = "groups " + std::to_string(64 * groups) + "x" + std::to_string(tileN) + " s" + std::to_string(slices);
  measure<Tile, residents>(name, g, Tile::tileM, tileN, stages * Tile::stageBytes + 1024, expected);
}

int main() {
  const u32 shapes[][3] = {{7680, 1024, 1024}, {7680, 512, 1024}, {7680, 1024, 1856}, {7680, 1024, 429}, {7680, 256, 512},
                           {161280, 64, 64},   {161280, 256, 64}, {2560, 1024, 1024}, {256, 1024, 1024}, {256, 256, 512}};
  // An idle GPU runs slowly at first.
  f32 *idle = noise(1 << 24, 1);
  for (int i = 0; i < 300; i++) check(cudaMemset(idle, 0, 1 << 26));
  for (const auto &[m, n, k] : shapes) {
    const u32 pitch = (k + 3) / 4 * 4;
    Arguments g = {{m, n, k, 1, 1, 0, pitch, 1, 0, 0, 0, 1, pitch, 0, 0}, noise((size_t)m * pitch, 1), noise((size_t)n * pitch, 2), noise(n, 3), nullptr};
    std::vector<f32> expected((size_t)m * n);
    check(cudaMalloc(&g.out, expected.size() * 4));
    reference<<<(m * n + 255) / 256, 256>>>(g);
    check(cudaMemcpy(expected.data(), g.out, expected.size() * 4, cudaMemcpyDeviceToHost));
    std::printf("%u x %u x %u\n", m, n, k);
    if (k % 4 == 0) measure<TensorTile<128, 128, 64, 32, 3, Loads::Along, Loads::Along, false>, 2>("warps 128x128", g, 128, 128, 3 * 256 * 36 * 4, expected);
    if (k % 4 == 0) measure<TensorTile<64, 64, 32, 32, 3, Loads::Along, Loads::Along, false>, 2>("warps 64x64", g, 64, 64, 3 * 128 * 36 * 4, expected);
    measureGroups<2, 256, 1, 4, 1>(g, expected);
    measureGroups<1, 128, 1, 4, 2>(g, expected);
    measureGroups<1, 64, 1, 4, 3>(g, expected);
    measureGroups<1, 32, 4, 4, 1>(g, expected);
    for (const f32 *data : {g.a, g.b, g.bias, (const f32 *)g.out}) check(cudaFree((void *)data));
  }
}
