#include "threads/pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "cpu/cpu.hpp"

namespace facegrep::detail {
namespace {

// One call of run_parts: whoever comes takes the next part.
class Job {
 public:
  Job(std::size_t parts, const std::function<void(std::size_t)>& work)
      : parts_(parts), work_(work) {}

  void help() noexcept {
    for (std::size_t part = next_++; part < parts_; part = next_++) {
      std::exception_ptr failure;
      try {
        work_(part);
      } catch (...) {
        failure = std::current_exception();
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      if (failure && !failure_) failure_ = failure;
      if (++ended_ == parts_) all_ended_.notify_all();
    }
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_ended_.wait(lock, [this] { return ended_ == parts_; });
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const std::size_t parts_;
  const std::function<void(std::size_t)>& work_;  // not touched once all parts are taken
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable all_ended_;
  std::size_t ended_ = 0;
  std::exception_ptr failure_;
};

// Never destroyed: its threads are detached and may outlive every static.
class Pool {
 public:
  void offer(const std::shared_ptr<Job>& job, std::size_t helpers) {
    const std::lock_guard<std::mutex> lock(mutex_);
    while (workers_ < std::min(helpers, largest_)) {
      try {
        std::thread([this] { serve(); }).detach();
      } catch (const std::system_error&) {
        break;  // no thread to be had: the caller and the others do the work
      }
      ++workers_;
    }
    for (std::size_t i = 0; i < std::min(helpers, workers_); ++i) waiting_.push_back(job);
    job_waits_.notify_all();
  }

 private:
  [[noreturn]] void serve() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        job_waits_.wait(lock, [this] { return !waiting_.empty(); });
        job = std::move(waiting_.front());
        waiting_.pop_front();
      }
      job->help();
    }
  }

  const std::size_t largest_ = std::max<std::size_t>(2, cores_available()) - 1;
  std::mutex mutex_;
  std::condition_variable job_waits_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::size_t workers_ = 0;
};

std::atomic<Pool*> current{nullptr};

// A child has none of its parent's threads, and perhaps a locked mutex: it begins with a new pool.
void forget_in_child() { current = nullptr; }

Pool& pool() {
  static const int registered = pthread_atfork(nullptr, nullptr, forget_in_child);
  static_cast<void>(registered);
  Pool* found = current;
  if (found != nullptr) return *found;
  auto fresh = std::make_unique<Pool>();
  if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
  return *found;
}

}  // namespace

void run_parts(std::size_t parts, const std::function<void(std::size_t)>& work) {
  if (parts == 1) return work(0);
  const auto job = std::make_shared<Job>(parts, work);
  pool().offer(job, parts - 1);
  job->help();
  job->wait();
}

}  // namespace facegrep::detail
