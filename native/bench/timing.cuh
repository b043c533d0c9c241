// What the programs here share.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>

static void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}

// The least time of five times ten calls, in microseconds.
template <class Launch> static float timeOf(const Launch &launch) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  float best = 1e9f;
  for (int repeat = 0; repeat < 6; repeat++) {
    check(cudaEventRecord(begin));
    for (int i = 0; i < 10; i++) launch();
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end));
    if (repeat > 0) best = std::min(best, ms * 100);
  }
  return best;
}
