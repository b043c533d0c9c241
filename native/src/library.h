// Shared libraries that are opened when they are first needed, so that the addon loads where they are missing.
#pragma once

#include <dlfcn.h>

#include <string>
#include <vector>

namespace braid {

class Library {
public:
  // Opens the first of `names` that is there; `reason` tells why none was.
  bool open(const std::vector<std::string> &names) {
    for (const auto &name : names) {
      handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_) {
        name_ = name;
        return true;
      }
      const char *error = dlerror();
      if (reason_.empty() && error) reason_ = error;
    }
    return false;
  }

  template <class F> bool find(F &function, const char *symbol) {
    function = reinterpret_cast<F>(dlsym(handle_, symbol));
    if (!function) reason_ = name_ + " has no " + symbol;
    return function != nullptr;
  }

  bool isOpen() const { return handle_ != nullptr; }
  const std::string &reason() const { return reason_; }
  const std::string &name() const { return name_; }

private:
  void *handle_ = nullptr;
  std::string name_;
  std::string reason_;
};

} // namespace braid
