// The process's worker threads: none until the first search that can use one, one fewer than cores.
#pragma once

#include <cstddef>
#include <functional>

namespace facegrep::detail {

/// Runs work(0) .. work(parts - 1), each once, and returns when all have ended. The caller works
/// too, so a busy pool only makes it slower; calls from many threads share the workers.
/// Threads  reentrant, also after a fork: the child starts workers of its own.
/// Throws   what the first failing part threw, after all have ended.
void run_parts(std::size_t parts, const std::function<void(std::size_t)>& work);

}  // namespace facegrep::detail
