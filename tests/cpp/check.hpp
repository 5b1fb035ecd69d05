// The smallest test harness that names what failed: CHECK(condition, message...).
#pragma once

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

inline int report(const char* what) {
  std::printf("%s: %s\n", what, failures == 0 ? "passed" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace facegrep::tests
