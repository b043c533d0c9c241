#include "workers.h"

#include <chrono>

#include "pause.h"

namespace braid {

using Clock = std::chrono::steady_clock;

// A thread without a task looks for one so long before it sleeps: waking it costs whoever gives the task a call of the
// system, and the task that long again.
static constexpr auto kLook = std::chrono::microseconds(100);

Workers::Workers(size_t count, Task enter) : enter_(std::move(enter)) {
  for (size_t i = 0; i < count; i++) threads_.emplace_back([this] { run(); });
}

void Workers::finish() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto &thread : threads_) thread.join();
  threads_.clear();
}

void Workers::give(Task task) {
  bool wakes;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    waiting_ = tasks_.size();
    wakes = tasks_.size() > looking_;
  }
  if (wakes) wake_.notify_one();
}

void Workers::run() {
  enter_();
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (tasks_.empty() && !stopping_) {
      looking_++;
      lock.unlock();
      const auto until = Clock::now() + kLook;
      while (waiting_ == 0 && !stopping_ && Clock::now() < until) pauseBriefly();
      lock.lock();
      looking_--;
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    }
    if (tasks_.empty()) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    waiting_ = tasks_.size();
    lock.unlock();
    task();
    lock.lock();
  }
}

} // namespace braid
