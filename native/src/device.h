// A CUDA device as JavaScript sees it: memory, kernels, lanes (streams), and command lists.
#pragma once

#include <napi.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cublaslt.h"
#include "driver.h"
#include "replays.h"
#include "watcher.h"
#include "workers.h"

namespace braid {

// Commands of a list: an operation and its numbers. runtime/backends/cuda/commands.ts writes them.
enum class Op : int { Launch = 1, Upload = 2, Download = 3, Wait = 4, Clock = 5, Copy = 6, Fill = 7, Product = 8 };

// Memory of a caller's typed array. What JavaScript holds keeps it, unless it is detached or resized meanwhile.
struct Source {
  const void *data;
  size_t bytes;
};

// Copies of a submission in pieces that threads share out among themselves.
struct Pieces {
  struct Piece {
    char *to;
    const char *from;
    size_t bytes;
    int source;
  };
  std::vector<Piece> list;
  std::atomic<size_t> next{0};
  // In the order of the list.
  std::vector<std::atomic<bool>> done;
  std::atomic<int> fault{-1};

  // Copies one that nobody has taken; false where there is none.
  bool copyOne();
  // Returns once the first `count` are there; helps.
  void await(size_t count);
};

// What a lane is to do. A lane has one submission at a time, whose memory the next one takes over.
struct Submission {
  std::vector<double> commands;
  std::vector<unsigned char> arguments;
  std::vector<Source> sources;
};

struct Lane {
  CUstream stream = nullptr;
  // Recorded behind every submission; other lanes wait for it.
  CUevent done = nullptr;
  std::vector<CUevent> clock;
  // Of the submission given last, and of that whose commands the stream has.
  uint32_t point = 0;
  std::atomic<uint32_t> given{0};
  // What products need while they are made; 0 until there are any.
  CUdeviceptr workspace = 0;
  Submission submission;
  Replays replays;
};

// How far the copies of a submission are.
struct Copied {
  // Pieces of the copies that were passed.
  size_t pieces = 0;
  // A source that could not be read, or -1.
  int fault = -1;
};

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
  Napi::Value adopt(const Napi::CallbackInfo &info);
  void disown(const Napi::CallbackInfo &info);
  Napi::Value loadKernel(const Napi::CallbackInfo &info);
  Napi::Value loadProduct(const Napi::CallbackInfo &info);
  Napi::Value submit(const Napi::CallbackInfo &info);
  Napi::Value clock(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  void enter(Napi::Env env) const;
  void destroy();
  void carryOut(size_t index, uint32_t point, bool alone);
  int run(Lane &lane, Pieces *pieces);
  void run(Lane &lane, size_t from, size_t to, Pieces *pieces, Copied &copied);
  std::shared_ptr<Pieces> share(const Submission &submission);
  CUfunction kernel(size_t index);
  void report(int lane, uint32_t point, const std::string &reason, int fault);

  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::deque<Lane> lanes_;
  // Where each lane's stream writes the point it has reached: pinned, and its address on the device.
  volatile uint32_t *flags_ = nullptr;
  CUdeviceptr deviceFlags_ = 0;
  std::vector<CUmodule> modules_;
  // Threads launch kernels while JavaScript loads others.
  std::mutex kernelsMutex_;
  std::vector<CUfunction> kernels_;
  std::unique_ptr<Products> products_;
  std::unordered_map<double, void *> pinned_;
  // Callers' memory that the device reads by itself, by where its pages begin; held while it does.
  std::unordered_map<double, Napi::ObjectReference> adopted_;
  Napi::ThreadSafeFunction ended_;
  // Submissions whose end JavaScript has not heard of: they keep the process alive.
  uint32_t inFlight_ = 0;
  std::unique_ptr<Watcher> watcher_;
  std::unique_ptr<Workers> submitters_;
};

} // namespace braid
