// Runs a test on every tier that this machine can run, and says which.
#pragma once

#include <cstdio>

#include "cpu/tiers.hpp"

namespace facegrep::detail {
#if defined(FACEGREP_EMULATED_AVX512)
extern const ScoreKernels kScoreAvx512VnniEmulated;
#endif
}  // namespace facegrep::detail

namespace facegrep::tests {

/// The specification: the last row of the table.
inline const detail::Tier& scalar_tier() { return *(detail::tiers().end() - 1); }

template <typename Test>
void for_each_tier(Test&& test) {
  for (const detail::Tier& tier : detail::tiers()) {
    if (tier.runs_here()) test(tier);
    std::printf("tier %s: %s\n", tier.isa,
                tier.runs_here() ? "tested on this CPU" : "this CPU lacks it");
  }
#if defined(FACEGREP_EMULATED_AVX512)
  test(detail::Tier{"avx512vnni", &detail::kScoreAvx512VnniEmulated, &detail::kFilterScalar,
                    nullptr});
  std::printf("tier avx512vnni: tested through SIMDe\n");
#endif
}

}  // namespace facegrep::tests
