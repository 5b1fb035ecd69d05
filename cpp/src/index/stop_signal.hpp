// Lets a long search end early because its caller was interrupted.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "facegrep/error.hpp"

namespace facegrep::detail {

/// Made by the thread that calls; the threads that work for it share it.
class StopSignal {
 public:
  /// `interrupted` is asked now and then, by the thread that makes this object alone; it may be
  /// empty.
  explicit StopSignal(const std::function<bool()>& interrupted)
      : interrupted_(interrupted), caller_(std::this_thread::get_id()) {}

  /// Call once a tile, that is every few microseconds. Throws Interrupted.
  void check() {
    if (stopped_.load(std::memory_order_relaxed)) throw Interrupted();
    if (!interrupted_ || std::this_thread::get_id() != caller_) return;
    if (++checks_ % kChecksPerLook != 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_question_) return;
    next_question_ = now + kPeriod;
    if (!interrupted_()) return;
    stopped_ = true;
    throw Interrupted();
  }

 private:
  static constexpr unsigned kChecksPerLook = 16;  // a look at the clock costs 25 ns
  static constexpr std::chrono::milliseconds kPeriod{50};

  const std::function<bool()>& interrupted_;
  const std::thread::id caller_;
  std::atomic<bool> stopped_{false};
  unsigned checks_ = 0;
  std::chrono::steady_clock::time_point next_question_ = std::chrono::steady_clock::now() + kPeriod;
};

}  // namespace facegrep::detail
