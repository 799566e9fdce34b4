#include "cmd/stop_signal.h"

#include <signal.h>

namespace sparrow {
namespace {

std::atomic<bool> g_stop{false};
void on_stop(int) { g_stop.store(true); }

}  // namespace

const std::atomic<bool>& catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_stop;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second one ends at once
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action = {};
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  sigaction(SIGXFSZ, &action, nullptr);
  return g_stop;
}

}  // namespace sparrow
