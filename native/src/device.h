// A CUDA device as JavaScript sees it: memory, kernels, lanes (streams), and command lists.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "driver.h"
#include "watcher.h"

namespace braid {

struct Lane {
  CUstream stream = nullptr;
  // Recorded behind every submission; other lanes wait for it.
  CUevent done = nullptr;
  std::vector<CUevent> clock;
  uint32_t point = 0;
};

// Commands of a list: an operation and its numbers. runtime/backends/cuda/commands.ts writes them.
enum class Op : int { Launch = 1, Upload = 2, Download = 3, Wait = 4, Clock = 5 };

class Device : public Napi::ObjectWrap<Device> {
public:
  static Napi::Function define(Napi::Env env);
  explicit Device(const Napi::CallbackInfo &info);
  ~Device() override;

private:
  Napi::Value limits(const Napi::CallbackInfo &info);
  Napi::Value alloc(const Napi::CallbackInfo &info);
  void free(const Napi::CallbackInfo &info);
  void clear(const Napi::CallbackInfo &info);
  void upload(const Napi::CallbackInfo &info);
  Napi::Value pin(const Napi::CallbackInfo &info);
  void unpin(const Napi::CallbackInfo &info);
  Napi::Value loadKernel(const Napi::CallbackInfo &info);
  Napi::Value submit(const Napi::CallbackInfo &info);
  Napi::Value clock(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  void enter(Napi::Env env) const;
  void destroy();
  void run(Lane &lane, const double *commands, size_t count, unsigned char *arguments, size_t argumentBytes);

  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::vector<Lane> lanes_;
  // Where each lane's stream writes the point it has reached: pinned, and its address on the device.
  volatile uint32_t *flags_ = nullptr;
  CUdeviceptr deviceFlags_ = 0;
  std::vector<CUmodule> modules_;
  std::vector<CUfunction> kernels_;
  std::unordered_map<double, void *> pinned_;
  Napi::ThreadSafeFunction ended_;
  // Submissions whose end JavaScript has not heard of: they keep the process alive.
  uint32_t inFlight_ = 0;
  std::unique_ptr<Watcher> watcher_;
};

} // namespace braid
