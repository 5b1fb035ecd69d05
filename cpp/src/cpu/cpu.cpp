#include "cpu/cpu.hpp"

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(FACEGREP_ARM64) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace facegrep::detail {

std::size_t cores_available() noexcept {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    return static_cast<std::size_t>(std::max(1, CPU_COUNT(&mask)));
  }
#endif
  return std::max(1U, std::thread::hardware_concurrency());
}

#if defined(FACEGREP_X86)
// __builtin_cpu_supports looks at XGETBV as well, so a kernel that does not save the wide registers
// (or a hypervisor that hides them) counts as a CPU without them.
bool has_avx2() noexcept { return __builtin_cpu_supports("avx2") != 0; }

bool has_avx512vnni() noexcept {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512vnni") != 0;
}
#else
bool has_avx2() noexcept { return false; }
bool has_avx512vnni() noexcept { return false; }
#endif

#if defined(FACEGREP_ARM64) && defined(__linux__)
// The kernel is asked: the ID registers are its own. Where cores differ it names what all have.
bool has_dotprod() noexcept { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#elif defined(FACEGREP_ARM64) && defined(__APPLE__)
// Every arm64 Mac has it, from the M1 on: there is nothing to ask.
bool has_dotprod() noexcept { return true; }
#else
bool has_dotprod() noexcept { return false; }
#endif

}  // namespace facegrep::detail
