// The CUDA driver's interface. Nothing is linked: libcuda.so.1 comes with the driver and may be missing.
#pragma once

#include <cuda.h>

#include <stdexcept>
#include <string>

namespace braid {

// Every function that the addon calls. cuda.h maps names to their versions; these names follow it.
#define BRAID_DRIVER_FUNCTIONS(F)                                                                    \
  F(cuInit)                                                                                          \
  F(cuDriverGetVersion)                                                                              \
  F(cuDeviceGetCount)                                                                                \
  F(cuDeviceGet)                                                                                     \
  F(cuDeviceGetName)                                                                                 \
  F(cuDeviceTotalMem)                                                                                \
  F(cuDeviceGetAttribute)                                                                            \
  F(cuCtxDestroy)                                                                                    \
  F(cuCtxSetCurrent)                                                                                 \
  F(cuCtxSynchronize)                                                                                \
  F(cuMemGetInfo)                                                                                    \
  F(cuMemAlloc)                                                                                      \
  F(cuMemFree)                                                                                       \
  F(cuMemHostAlloc)                                                                                  \
  F(cuMemFreeHost)                                                                                   \
  F(cuMemHostRegister)                                                                               \
  F(cuMemHostUnregister)                                                                             \
  F(cuMemHostGetDevicePointer)                                                                       \
  F(cuMemcpyHtoD)                                                                                    \
  F(cuMemcpyHtoDAsync)                                                                               \
  F(cuMemcpyDtoHAsync)                                                                               \
  F(cuMemsetD8)                                                                                      \
  F(cuModuleLoadData)                                                                                \
  F(cuModuleUnload)                                                                                  \
  F(cuModuleGetFunction)                                                                             \
  F(cuFuncSetAttribute)                                                                              \
  F(cuLaunchKernel)                                                                                  \
  F(cuStreamBeginCapture)                                                                            \
  F(cuStreamEndCapture)                                                                              \
  F(cuGraphInstantiate)                                                                              \
  F(cuGraphLaunch)                                                                                   \
  F(cuGraphDestroy)                                                                                  \
  F(cuGraphExecDestroy)                                                                              \
  F(cuStreamCreate)                                                                                  \
  F(cuStreamDestroy)                                                                                 \
  F(cuStreamQuery)                                                                                   \
  F(cuStreamWaitEvent)                                                                               \
  F(cuStreamWriteValue32)                                                                            \
  F(cuEventCreate)                                                                                   \
  F(cuEventDestroy)                                                                                  \
  F(cuEventRecord)                                                                                   \
  F(cuEventQuery)                                                                                    \
  F(cuEventElapsedTime)                                                                              \
  F(cuGetErrorName)                                                                                  \
  F(cuGetErrorString)

struct Driver {
#define BRAID_DECLARE(name) decltype(&::name) p_##name = nullptr;
  BRAID_DRIVER_FUNCTIONS(BRAID_DECLARE)
#undef BRAID_DECLARE
  // Its declaration changed with CUDA 13; this version is in every driver.
  CUresult (*createContext)(CUcontext *, unsigned, CUdevice) = nullptr;

  // Why there is no driver; empty where there is one.
  std::string reason;
};

// Opened on first use, once for the process.
const Driver &driver();

class CudaError : public std::runtime_error {
public:
  CudaError(CUresult code, const char *call);
  CUresult code;
};

inline void check(CUresult code, const char *call) {
  if (code != CUDA_SUCCESS) throw CudaError(code, call);
}

// Calls a function of the driver and throws where it fails.
#define CU(name, ...) ::braid::check(::braid::driver().p_##name(__VA_ARGS__), #name)

} // namespace braid
