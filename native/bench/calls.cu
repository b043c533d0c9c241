// What the calls of the driver take that a wave is made of: uploads, launches with 240 bytes of parameters, downloads and the word
// that tells the host, as they are given one by one and as a CUDA graph, which is launched again as it is or updated first.
// Medians of 600 waves each, in microseconds: until the host saw the end (`total`) and until it had given all (`submit`).
//
//   nvcc -std=c++17 -O3 -gencode arch=compute_90a,code=sm_90a native/bench/calls.cu -o calls && ./calls
#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#define CHECK(call)                                                                                  \
  do {                                                                                               \
    const int code = (int)(call);                                                                    \
    if (code != 0) {                                                                                 \
      std::printf("%s: error %d\n", #call, code);                                                    \
      std::exit(1);                                                                                  \
    }                                                                                                \
  } while (0)

using Clock = std::chrono::steady_clock;

static double since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Parameters {
  char bytes[240];
};

// About 2 us of work on every multiprocessor, that of a small kernel.
static constexpr int kCycles = 4000;

__global__ void work(Parameters, int cycles) {
  const long long begin = clock64();
  while (clock64() - begin < cycles) {
  }
}

int main() {
  CHECK(cudaFree(nullptr));
  CUresult (*writeValue)(CUstream, CUdeviceptr, unsigned, unsigned) = nullptr;
  cudaDriverEntryPointQueryResult found;
  CHECK(cudaGetDriverEntryPointByVersion("cuStreamWriteValue32", (void **)&writeValue, 12000, 0, &found));
  cudaStream_t stream;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaEvent_t event;
  CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  char *device, *pinned;
  CHECK(cudaMalloc(&device, 1 << 24));
  CHECK(cudaHostAlloc((void **)&pinned, 1 << 24, cudaHostAllocMapped));
  volatile unsigned *flag = (volatile unsigned *)(pinned + (1 << 23));
  *flag = 0;
  char *results = pinned + (1 << 22);
  const Parameters parameters{};
  unsigned point = 0;
  for (const int kernels : {7, 9}) {
    for (const size_t bytes : {size_t(57344), size_t(430000)}) {
      std::printf("%d kernels, %zu bytes of inputs\n", kernels, bytes);
      const auto launch = [&] {
        for (int i = 0; i < kernels; i++) work<<<132, 256, 0, stream>>>(parameters, kCycles);
        CHECK(cudaMemcpyAsync(results, device, 4112, cudaMemcpyDeviceToHost, stream));
        CHECK(cudaMemcpyAsync(results + 8192, device + 8192, 1024, cudaMemcpyDeviceToHost, stream));
      };
      cudaGraph_t graph;
      cudaGraphExec_t replay;
      const auto begin = Clock::now();
      CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
      launch();
      CHECK(cudaStreamEndCapture(stream, &graph));
      CHECK(cudaGraphInstantiate(&replay, graph, 0));
      std::printf("  to make the graph %6.1f\n", since(begin));
      cudaGraphNode_t nodes[64];
      size_t count = 64;
      CHECK(cudaGraphGetNodes(graph, nodes, &count));
      int turn = 0;
      const auto update = [&] {
        turn ^= 1;
        int cycles = kCycles + turn;
        void *arguments[] = {(void *)&parameters, &cycles};
        cudaKernelNodeParams changed{};
        changed.func = (void *)work;
        changed.gridDim = dim3(132 - turn);
        changed.blockDim = dim3(256);
        changed.kernelParams = arguments;
        for (size_t i = 0; i < count; i++) {
          cudaGraphNodeType type;
          CHECK(cudaGraphNodeGetType(nodes[i], &type));
          if (type == cudaGraphNodeTypeKernel) CHECK(cudaGraphExecKernelNodeSetParams(replay, nodes[i], &changed));
        }
      };
      const auto replayed = [&] { CHECK(cudaGraphLaunch(replay, stream)); };
      struct Way {
        const char *name;
        std::function<void()> give;
      };
      const Way ways[] = {
          {"one by one", launch},
          {"a graph as it is", replayed},
          {"a graph whose kernels are updated", [&] { update(), replayed(); }},
      };
      for (const auto &[name, give] : ways) {
        std::vector<double> totals, submits;
        for (int i = 0; i < 600; i++) {
          point++;
          const auto start = Clock::now();
          CHECK(cudaMemcpyAsync(device + (1 << 23), pinned + (1 << 21), 16, cudaMemcpyHostToDevice, stream));
          CHECK(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, stream));
          give();
          CHECK(cudaEventRecord(event, stream));
          CHECK(writeValue((CUstream)stream, (CUdeviceptr)flag, point, CU_STREAM_WRITE_VALUE_DEFAULT));
          submits.push_back(since(start));
          while (*flag != point) {
          }
          totals.push_back(since(start));
          const auto idle = Clock::now();
          while (since(idle) < 40) {
          }
        }
        std::printf("  %-34s total %6.1f  submit %6.1f\n", name, median(totals), median(submits));
      }
      CHECK(cudaStreamSynchronize(stream));
      CHECK(cudaGraphExecDestroy(replay));
      CHECK(cudaGraphDestroy(graph));
    }
  }
}
