#include "score/dispatch.hpp"

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
#endif
    {&kScoreScalar, always},
};

const ScoreKernels& choose() {
  const char* wanted = std::getenv("FACEGREP_ISA");
  std::string known;
  for (const ScoreTier& tier : score_tiers()) {
    if (wanted == nullptr) {
      if (tier.runs_here()) return *tier.kernels;
      continue;
    }
    if (std::string(wanted) == tier.kernels->isa) {
      if (tier.runs_here()) return *tier.kernels;
      throw InvalidArgument("FACEGREP_ISA=" + std::string(wanted) +
                            ": this CPU lacks it; unset FACEGREP_ISA to use the best it has");
    }
    known += known.empty() ? tier.kernels->isa : std::string(", ") + tier.kernels->isa;
  }
  throw InvalidArgument("FACEGREP_ISA=" + std::string(wanted) + ": expected one of " + known);
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
