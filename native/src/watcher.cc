#include "watcher.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "pause.h"

namespace braid {

using Clock = std::chrono::steady_clock;

// What a stream wrote is seen at once while something is awaited; after this long without an end the thread sleeps in
// between, so that a long wave does not cost a core.
static constexpr auto kSpin = std::chrono::milliseconds(5);
static constexpr auto kNap = std::chrono::microseconds(50);
// With nothing awaited it looks for work so long before it sleeps: whoever submits would have to wake it.
static constexpr auto kLook = std::chrono::microseconds(100);
// A stream that failed never writes its flag: it is asked this often.
static constexpr auto kAsk = std::chrono::milliseconds(2);

Watcher::Watcher(CUcontext context, Report report)
    : context_(context), report_(std::move(report)), thread_([this] { run(); }) {}

Watcher::~Watcher() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Watcher::await(const Awaited &awaited) {
  bool sleeps;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    added_.push_back(awaited);
    hasAdded_ = true;
    sleeps = sleeps_;
  }
  if (sleeps) wake_.notify_one();
}

bool Watcher::anyFailed(std::string &reason) const {
  for (const auto &awaited : pending_) {
    CUresult code = driver().p_cuStreamQuery(awaited.stream);
    if (code != CUDA_SUCCESS && code != CUDA_ERROR_NOT_READY) {
      reason = CudaError(code, "cuStreamQuery").what();
      return true;
    }
  }
  return false;
}

void Watcher::run() {
  driver().p_cuCtxSetCurrent(context_);
  auto lastEnd = Clock::now();
  auto lastAsked = lastEnd;
  for (;;) {
    if (pending_.empty()) {
      const auto until = Clock::now() + kLook;
      while (!hasAdded_ && !stopping_ && Clock::now() < until) pauseBriefly();
    }
    if (pending_.empty() || hasAdded_ || stopping_) {
      std::unique_lock<std::mutex> lock(mutex_);
      if (pending_.empty()) {
        sleeps_ = true;
        wake_.wait(lock, [this] { return stopping_ || !added_.empty(); });
        sleeps_ = false;
        lastEnd = lastAsked = Clock::now();
      }
      if (stopping_) return;
      pending_.insert(pending_.end(), added_.begin(), added_.end());
      added_.clear();
      hasAdded_ = false;
    }
    auto over = std::stable_partition(pending_.begin(), pending_.end(), [](const Awaited &a) {
      return (int32_t)(*a.flag - a.point) < 0;
    });
    auto now = Clock::now();
    if (over != pending_.end()) {
      std::atomic_thread_fence(std::memory_order_acquire);
      for (auto it = over; it != pending_.end(); ++it) report_(it->lane, it->point, "", it->fault);
      pending_.erase(over, pending_.end());
      lastEnd = now;
      continue;
    }
    if (now - lastAsked > kAsk) {
      lastAsked = now;
      std::string reason;
      if (anyFailed(reason)) {
        for (const auto &awaited : pending_) report_(awaited.lane, awaited.point, reason, awaited.fault);
        pending_.clear();
        continue;
      }
    }
    if (now - lastEnd > kSpin) std::this_thread::sleep_for(kNap);
    else pauseBriefly();
  }
}

} // namespace braid
