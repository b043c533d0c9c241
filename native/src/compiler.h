// NVRTC: compiles a kernel's source for the device that is there. Opened when it is first needed.
#pragma once

#include <string>
#include <vector>

namespace braid {

struct Header {
  std::string name;
  std::string text;
};

// Why nothing can be compiled; empty where it can.
std::string compilerReason();

// What was opened, and its version.
std::string compilerName();

// @param architecture such as 90.
// @return a cubin.
// Throws std::runtime_error with the compiler's log.
std::vector<char> compile(const std::string &source, const std::vector<Header> &headers, int architecture,
                          const std::vector<std::string> &options);

} // namespace braid
