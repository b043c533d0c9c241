// A few threads that take tasks in the order they were given.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace braid {

class Workers {
public:
  using Task = std::function<void()>;

  // `enter` is called first in each thread.
  Workers(size_t count, Task enter);
  ~Workers() { finish(); }
  Workers(const Workers &) = delete;

  void give(Task task);
  // Returns once all tasks are over, those too that tasks give meanwhile. None may be given behind that.
  void finish();

private:
  void run();

  Task enter_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  // How many tasks there are, for those that look for one without the lock.
  std::atomic<size_t> waiting_{0};
  // Threads that look for a task.
  size_t looking_ = 0;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

} // namespace braid
