// Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the program at once.
#pragma once

#include <memory>
#include <stop_token>
#include <thread>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::cli {

/// Made once, by main, before any other thread: from then on the signals are blocked in all
/// threads, and one thread waits for them.
class Interrupt {
 public:
  static Result<std::unique_ptr<Interrupt>> Start();
  ~Interrupt();

  /// Requested by the first signal.
  std::stop_token token() const { return stop_.get_token(); }

 private:
  Interrupt(sys::UniqueFd signals, sys::UniqueFd end)
      : signals_(std::move(signals)), end_(std::move(end)) {}
  void Watch();

  sys::UniqueFd signals_;
  sys::UniqueFd end_;
  std::stop_source stop_;
  std::jthread thread_;
};

}  // namespace cofferdam::cli
