// The smallest test harness that names what failed: CHECK(condition, message...).
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>

namespace facegrep::tests {

inline int failures = 0;

template <typename... Parts>
void check(bool holds, const char* condition, const char* file, int line, const Parts&... parts) {
  if (holds) return;
  std::ostringstream message;
  (message << ... << parts);
  std::fprintf(stderr, "%s:%d: not %s: %s\n", file, line, condition, message.str().c_str());
  if (++failures >= 10) std::exit(1);
}

#define CHECK(condition, ...) \
  ::facegrep::tests::check((condition), #condition, __FILE__, __LINE__, __VA_ARGS__)

/// CHECKs that `call` throws `Exception`.
#define CHECK_THROWS(Exception, call, ...)             \
  do {                                                 \
    bool thrown = false;                               \
    try {                                              \
      call;                                            \
    } catch (const Exception&) {                       \
      thrown = true;                                   \
    }                                                  \
    CHECK(thrown, "no " #Exception ": ", __VA_ARGS__); \
  } while (false)

/// How many of `all` random cases to run: every one, or one in FACEGREP_TEST_ONE_IN, for a CPU that
/// is emulated.
inline std::size_t some_of(std::size_t all) {
  const char* const one_in = std::getenv("FACEGREP_TEST_ONE_IN");
  if (one_in == nullptr) return all;
  return all / std::max(std::strtoul(one_in, nullptr, 10), 1UL) + 1;
}

inline int report(const char* what) {
  std::printf("%s: %s\n", what, failures == 0 ? "passed" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace facegrep::tests
