#include "score/dispatch.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "cpu/cpu.hpp"
#include "facegrep/cpu.hpp"
#include "facegrep/error.hpp"

namespace facegrep {
namespace detail {
namespace {

bool always() noexcept { return true; }

// Best first. To add a tier: write <isa>.cpp, list it in cpp/CMakeLists.txt, add its row here; the
// tests find it by themselves.
constexpr ScoreTier kTiers[] = {
#if defined(FACEGREP_X86)
    {&kScoreAvx512Vnni, has_avx512vnni},
    {&kScoreAvx2, has_avx2},
#elif defined(FACEGREP_ARM64)
    {&kScoreNeonDotprod, has_dotprod},
    {&kScoreNeon, always},
#endif
    {&kScoreScalar, always},
};

const ScoreKernels& choose() {
  const ScoreTiers tiers = score_tiers();
  const char* const set = std::getenv("FACEGREP_ISA");
  if (set == nullptr) {
    const auto runs_here = [](const ScoreTier& tier) { return tier.runs_here(); };
    return *std::find_if(tiers.begin(), tiers.end(), runs_here)->kernels;
  }
  const std::string wanted = set;
  std::string known;
  for (const ScoreTier& tier : tiers) {
    if (wanted == tier.kernels->isa) {
      if (tier.runs_here()) return *tier.kernels;
      throw InvalidArgument("FACEGREP_ISA=" + wanted +
                            ": this CPU lacks it; unset FACEGREP_ISA to use the best it has");
    }
    known += known.empty() ? tier.kernels->isa : std::string(", ") + tier.kernels->isa;
  }
  throw InvalidArgument("FACEGREP_ISA=" + wanted + ": expected one of " + known);
}

}  // namespace

ScoreTiers score_tiers() noexcept { return {kTiers, sizeof(kTiers) / sizeof(kTiers[0])}; }

const ScoreKernels& score_kernels() {
  static const ScoreKernels& kernels = choose();
  return kernels;
}

}  // namespace detail

const char* active_isa() { return detail::score_kernels().isa; }

}  // namespace facegrep
