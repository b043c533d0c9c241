// A driver of CUDA for tests without a GPU: memory is the host's, copies are made at once, kernels do nothing. What it is for
// is how the addon hands work over: order, threads, what becomes of callers' memory. Built as libcuda.so.1.
#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

// What a stream is given while it is captured is not done but kept. One capture a thread; streams are all alike.
using Graph = std::vector<std::function<void()>>;
static thread_local Graph *capturing = nullptr;
static std::atomic<size_t> graphsLaunched{0};

static CUresult give(const std::function<void()> &work) {
  if (capturing) capturing->push_back(work);
  else work();
  return CUDA_SUCCESS;
}

// cuda.h maps names to their versions; definitions follow it.
extern "C" {

CUresult CUDAAPI cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceGetCount(int *count) { return *count = 1, CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceGet(CUdevice *device, int) { return *device = 0, CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceGetName(char *name, int size, CUdevice) {
  return std::strncpy(name, "no device", size), CUDA_SUCCESS;
}
CUresult CUDAAPI cuDeviceTotalMem(size_t *bytes, CUdevice) { return *bytes = size_t(1) << 30, CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice) {
  switch (which) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 0; break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = 232448; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 49152; break;
  default: *value = 1024;
  }
  return CUDA_SUCCESS;
}
#undef cuCtxCreate
CUresult CUDAAPI cuCtxCreate_v2(CUcontext *context, unsigned, CUdevice) {
  return *context = (CUcontext)std::malloc(1), CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxDestroy(CUcontext context) { return std::free((void *)context), CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxSynchronize() { return CUDA_SUCCESS; }
// A byte is missing for each graph that was launched, so that a test can count them.
CUresult CUDAAPI cuMemGetInfo(size_t *free, size_t *total) {
  *total = size_t(1) << 30;
  return *free = *total - graphsLaunched, CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *data, size_t bytes) {
  return *data = (CUdeviceptr)std::malloc(bytes), CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemFree(CUdeviceptr data) { return std::free((void *)data), CUDA_SUCCESS; }
CUresult CUDAAPI cuMemHostAlloc(void **data, size_t bytes, unsigned) {
  return *data = std::calloc(bytes, 1), CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemFreeHost(void *data) { return std::free(data), CUDA_SUCCESS; }
CUresult CUDAAPI cuMemHostRegister(void *data, size_t bytes, unsigned) {
  return (uintptr_t)data % 4096 == 0 && bytes % 4096 == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult CUDAAPI cuMemHostUnregister(void *) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr *data, void *host, unsigned) {
  return *data = (CUdeviceptr)host, CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return std::memcpy((void *)to, from, bytes), CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream) {
  return give([=] { std::memcpy((void *)to, from, bytes); });
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream) {
  return give([=] { std::memcpy(to, (const void *)from, bytes); });
}
CUresult CUDAAPI cuMemsetD8(CUdeviceptr data, unsigned char value, size_t bytes) {
  return std::memset((void *)data, value, bytes), CUDA_SUCCESS;
}
CUresult CUDAAPI cuModuleLoadData(CUmodule *module, const void *) { return *module = (CUmodule)1, CUDA_SUCCESS; }
CUresult CUDAAPI cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuModuleGetFunction(CUfunction *kernel, CUmodule, const char *) {
  return *kernel = (CUfunction)1, CUDA_SUCCESS;
}
CUresult CUDAAPI cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
// A grid of 0 blocks is what CUDA refuses, here as there.
CUresult CUDAAPI cuLaunchKernel(CUfunction, unsigned x, unsigned y, unsigned z, unsigned, unsigned, unsigned, unsigned,
                                CUstream, void **, void **) {
  return x * y * z == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
CUresult CUDAAPI cuStreamBeginCapture(CUstream, CUstreamCaptureMode) {
  if (capturing) return CUDA_ERROR_ILLEGAL_STATE;
  return capturing = new Graph(), CUDA_SUCCESS;
}
CUresult CUDAAPI cuStreamEndCapture(CUstream, CUgraph *graph) {
  *graph = (CUgraph)capturing;
  return capturing = nullptr, CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, unsigned long long) {
  return *exec = (CUgraphExec) new Graph(*(Graph *)graph), CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphLaunch(CUgraphExec exec, CUstream) {
  for (const auto &work : *(Graph *)exec) work();
  graphsLaunched++;
  return CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphDestroy(CUgraph graph) { return delete (Graph *)graph, CUDA_SUCCESS; }
CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec exec) { return delete (Graph *)exec, CUDA_SUCCESS; }
CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned) { return *stream = (CUstream)1, CUDA_SUCCESS; }
CUresult CUDAAPI cuStreamDestroy(CUstream) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuStreamQuery(CUstream) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuStreamWaitEvent(CUstream, CUevent, unsigned) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuStreamWriteValue32(CUstream, CUdeviceptr data, cuuint32_t value, unsigned) {
  __atomic_store_n((cuuint32_t *)data, value, __ATOMIC_RELEASE);
  return CUDA_SUCCESS;
}
CUresult CUDAAPI cuEventCreate(CUevent *event, unsigned) { return *event = (CUevent)1, CUDA_SUCCESS; }
CUresult CUDAAPI cuEventDestroy(CUevent) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuEventRecord(CUevent, CUstream) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuEventQuery(CUevent) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuEventElapsedTime(float *ms, CUevent, CUevent) { return *ms = 0, CUDA_SUCCESS; }
CUresult CUDAAPI cuGetErrorName(CUresult, const char **text) { return *text = "CUDA_ERROR", CUDA_SUCCESS; }
CUresult CUDAAPI cuGetErrorString(CUresult, const char **text) { return *text = "refused", CUDA_SUCCESS; }
}
