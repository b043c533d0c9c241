// Launches of a stream that repeat, as CUDA graphs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "driver.h"

namespace braid {

// What a stream was given lately. A graph takes one call of the driver where its launches take one each; what differs in a
// single word is launched anew, for to update a graph's parameters takes longer than that.
class Replays {
public:
  ~Replays();

  // Gives the stream `count` commands with their arguments. `launch` does so; it may be captured, and what it gives may depend
  // on nothing but these numbers.
  void run(CUstream stream, const double *commands, size_t count, const std::vector<unsigned char> &arguments,
           const std::function<void()> &launch);

private:
  struct Replay {
    uint64_t hash = 0;
    std::vector<double> commands;
    std::vector<unsigned char> arguments;
    uint32_t seen = 0;
    uint64_t usedAt = 0;
    CUgraphExec graph = nullptr;
    // Something in it cannot be captured.
    bool refused = false;
  };

  Replay &find(const double *commands, size_t count, const std::vector<unsigned char> &arguments);

  std::vector<Replay> replays_;
  uint64_t now_ = 0;
};

} // namespace braid
