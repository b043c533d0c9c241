// The thread that waits for streams, so that JavaScript need not ask.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "driver.h"

namespace braid {

// A submission whose end is awaited: the stream writes `point` to `flag` behind it.
struct Awaited {
  int lane;
  uint32_t point;
  // A source that could not be read, or -1.
  int fault;
  volatile uint32_t *flag;
  CUstream stream;
};

class Watcher {
public:
  // `report` is called in the watcher's thread: the lane, its point, what failed (empty where nothing did), the fault.
  using Report = std::function<void(int, uint32_t, const std::string &, int)>;

  Watcher(CUcontext context, Report report);
  ~Watcher();
  Watcher(const Watcher &) = delete;

  void await(const Awaited &awaited);

private:
  void run();
  bool anyFailed(std::string &reason) const;

  CUcontext context_;
  Report report_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Awaited> added_;
  // Whether there are such, for whoever looks without the lock; and whether the thread sleeps.
  std::atomic<bool> hasAdded_{false};
  bool sleeps_ = false;
  std::vector<Awaited> pending_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

} // namespace braid
