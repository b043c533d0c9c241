#include "driver.h"

#include <mutex>

#include "library.h"

namespace braid {

#define BRAID_TEXT_(name) #name
#define BRAID_TEXT(name) BRAID_TEXT_(name)

static void openDriver(Driver &d) {
  static Library library;
  if (!library.open({"libcuda.so.1"})) {
    d.reason = "the NVIDIA driver is missing: " + library.reason();
    return;
  }
#define BRAID_FIND(name)                                                                             \
  if (!library.find(d.p_##name, BRAID_TEXT(name))) {                                                 \
    d.reason = "the NVIDIA driver is too old: " + library.reason();                                  \
    return;                                                                                          \
  }
  // BRAID_TEXT sees what cuda.h made of each name, such as cuMemAlloc_v2.
  BRAID_DRIVER_FUNCTIONS(BRAID_FIND)
#undef BRAID_FIND
  if (!library.find(d.createContext, "cuCtxCreate_v2")) {
    d.reason = library.reason();
    return;
  }
  CUresult code = d.p_cuInit(0);
  if (code != CUDA_SUCCESS) {
    const char *text = nullptr;
    d.p_cuGetErrorString(code, &text);
    d.reason = std::string("the NVIDIA driver does not start: ") + (text ? text : "unknown error");
  }
}

const Driver &driver() {
  static Driver d;
  static std::once_flag once;
  std::call_once(once, [] { openDriver(d); });
  return d;
}

static std::string explain(CUresult code, const char *call) {
  const char *name = nullptr;
  const char *text = nullptr;
  driver().p_cuGetErrorName(code, &name);
  driver().p_cuGetErrorString(code, &text);
  return std::string(call) + ": " + (name ? name : "CUDA_ERROR") + ", " + (text ? text : "unknown error");
}

CudaError::CudaError(CUresult code, const char *call) : std::runtime_error(explain(code, call)), code(code) {}

} // namespace braid
