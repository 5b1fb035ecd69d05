#include "cpu/tiers.hpp"

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
constexpr Tier kTiers[] = {
#if defined(FACEGREP_X86)
    {"avx512vnni", &kScoreAvx512Vnni, &kFilterAvx2, has_avx512vnni},
    {"avx2", &kScoreAvx2, &kFilterAvx2, has_avx2},
#elif defined(FACEGREP_ARM64)
    {"neon_dotprod", &kScoreNeonDotprod, &kFilterScalar, has_dotprod},
    {"neon", &kScoreNeon, &kFilterScalar, always},
#endif
    {"scalar", &kScoreScalar, &kFilterScalar, always},
};

const Tier& choose() {
  const char* const set = std::getenv("FACEGREP_ISA");
  if (set == nullptr) {
    const auto runs_here = [](const Tier& tier) { return tier.runs_here(); };
    return *std::find_if(tiers().begin(), tiers().end(), runs_here);
  }
  const std::string wanted = set;
  std::string known;
  for (const Tier& tier : tiers()) {
    if (wanted == tier.isa) {
      if (tier.runs_here()) return tier;
      throw InvalidArgument("FACEGREP_ISA=" + wanted +
                            ": this CPU lacks it; unset FACEGREP_ISA to use the best it has");
    }
    known += known.empty() ? tier.isa : std::string(", ") + tier.isa;
  }
  throw InvalidArgument("FACEGREP_ISA=" + wanted + ": expected one of " + known);
}

}  // namespace

Tiers tiers() noexcept { return {kTiers, sizeof(kTiers) / sizeof(kTiers[0])}; }

const Tier& active_tier() {
  static const Tier& tier = choose();
  return tier;
}

}  // namespace detail

const char* active_isa() { return detail::active_tier().isa; }

}  // namespace facegrep
