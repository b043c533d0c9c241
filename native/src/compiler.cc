#include "compiler.h"

#include <cstdlib>
#include <mutex>
#include <stdexcept>

#include "library.h"

namespace braid {

namespace {

// Of nvrtc.h, which toolkits without NVRTC lack; its interface is stable.
using Program = struct NvrtcProgram *;
struct Compiler {
  int (*version)(int *, int *) = nullptr;
  const char *(*errorString)(int) = nullptr;
  int (*createProgram)(Program *, const char *, const char *, int, const char *const *, const char *const *) = nullptr;
  int (*destroyProgram)(Program *) = nullptr;
  int (*compileProgram)(Program, int, const char *const *) = nullptr;
  int (*getCubinSize)(Program, size_t *) = nullptr;
  int (*getCubin)(Program, char *) = nullptr;
  int (*getLogSize)(Program, size_t *) = nullptr;
  int (*getLog)(Program, char *) = nullptr;
  std::string reason;
  std::string name;
};

void openCompiler(Compiler &c) {
  static Library library;
  std::vector<std::string> names = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable)) names.push_back(std::string(home) + "/lib64/libnvrtc.so");
  names.push_back("/usr/local/cuda/lib64/libnvrtc.so");
  if (!library.open(names)) {
    c.reason = "NVRTC, CUDA's run-time compiler, is missing: " + library.reason();
    return;
  }
  bool found = library.find(c.version, "nvrtcVersion") && library.find(c.errorString, "nvrtcGetErrorString") &&
               library.find(c.createProgram, "nvrtcCreateProgram") &&
               library.find(c.destroyProgram, "nvrtcDestroyProgram") &&
               library.find(c.compileProgram, "nvrtcCompileProgram") &&
               library.find(c.getCubinSize, "nvrtcGetCUBINSize") && library.find(c.getCubin, "nvrtcGetCUBIN") &&
               library.find(c.getLogSize, "nvrtcGetProgramLogSize") && library.find(c.getLog, "nvrtcGetProgramLog");
  if (!found) {
    c.reason = library.reason();
    return;
  }
  int major = 0, minor = 0;
  c.version(&major, &minor);
  c.name = library.name() + " " + std::to_string(major) + "." + std::to_string(minor);
  if (major < 12) c.reason = c.name + " is older than CUDA 12";
}

const Compiler &compiler() {
  static Compiler c;
  static std::once_flag once;
  std::call_once(once, [] { openCompiler(c); });
  return c;
}

} // namespace

std::string compilerReason() { return compiler().reason; }
std::string compilerName() { return compiler().name; }

std::vector<char> compile(const std::string &source, const std::vector<Header> &headers, int architecture,
                          const std::vector<std::string> &options) {
  const Compiler &c = compiler();
  if (!c.reason.empty()) throw std::runtime_error(c.reason);
  std::vector<const char *> names, texts;
  for (const auto &header : headers) {
    names.push_back(header.name.c_str());
    texts.push_back(header.text.c_str());
  }
  Program program = nullptr;
  int code = c.createProgram(&program, source.c_str(), "kernel.cu", (int)headers.size(), texts.data(), names.data());
  if (code != 0) throw std::runtime_error(std::string("nvrtcCreateProgram: ") + c.errorString(code));
  std::string target = "-arch=sm_" + std::to_string(architecture);
  // What only 9.0 has, such as products by groups of warps.
  if (architecture == 90) target += "a";
  std::vector<const char *> flags = {target.c_str(), "-std=c++17", "-default-device"};
  for (const auto &option : options) flags.push_back(option.c_str());
  code = c.compileProgram(program, (int)flags.size(), flags.data());
  if (code != 0) {
    size_t size = 0;
    c.getLogSize(program, &size);
    std::string log(size, '\0');
    if (size > 0) c.getLog(program, &log[0]);
    c.destroyProgram(&program);
    throw std::runtime_error(std::string("nvrtcCompileProgram: ") + c.errorString(code) + "\n" + log);
  }
  size_t size = 0;
  c.getCubinSize(program, &size);
  std::vector<char> cubin(size);
  c.getCubin(program, cubin.data());
  c.destroyProgram(&program);
  return cubin;
}

} // namespace braid
