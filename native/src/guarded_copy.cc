#include "guarded_copy.h"

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <mutex>

namespace braid {

// Where a copy of this thread goes on after a fault; null outside of copies.
static thread_local sigjmp_buf *volatile guard = nullptr;
static struct sigaction previousSegv;
static struct sigaction previousBus;

static void onFault(int signal, siginfo_t *info, void *context) {
  if (guard) siglongjmp(*guard, 1);
  const struct sigaction &previous = signal == SIGBUS ? previousBus : previousSegv;
  if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(signal, info, context);
  else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) sigaction(signal, &previous, nullptr);
  else previous.sa_handler(signal);
}

void guardCopies() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = onFault;
    // A jump out of the handler must not leave the signal blocked; runtimes' own handlers run on their own stack.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previousSegv);
    sigaction(SIGBUS, &action, &previousBus);
  });
}

bool guardedCopy(void *to, const void *from, size_t bytes) {
  sigjmp_buf here;
  // The mask is not saved: that would be a call of the system a copy.
  if (sigsetjmp(here, 0) != 0) {
    guard = nullptr;
    return false;
  }
  guard = &here;
  std::memcpy(to, from, bytes);
  guard = nullptr;
  return true;
}

} // namespace braid
