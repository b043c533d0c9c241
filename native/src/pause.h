#pragma once

namespace braid {

// For loops that wait for another thread.
inline void pauseBriefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

} // namespace braid
