// Runs a test on every tier that this machine can run, and says which.
#pragma once

#include <cstdio>

#include "score/dispatch.hpp"

namespace facegrep::detail {
#if defined(FACEGREP_EMULATED_AVX512)
extern const ScoreKernels kScoreAvx512VnniEmulated;
#endif
}  // namespace facegrep::detail

namespace facegrep::tests {

template <typename Test>
void for_each_tier(Test&& test) {
  for (const detail::ScoreTier& tier : detail::score_tiers()) {
    if (tier.runs_here()) test(*tier.kernels);
    std::printf("tier %s: %s\n", tier.kernels->isa,
                tier.runs_here() ? "tested on this CPU" : "this CPU lacks it");
  }
#if defined(FACEGREP_EMULATED_AVX512)
  test(detail::kScoreAvx512VnniEmulated);
  std::printf("tier avx512vnni: tested through SIMDe\n");
#endif
}

}  // namespace facegrep::tests
