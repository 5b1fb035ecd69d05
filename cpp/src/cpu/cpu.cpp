#include "cpu/cpu.hpp"

namespace facegrep::detail {

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

}  // namespace facegrep::detail
