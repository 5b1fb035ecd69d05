// The tiers: which kernels belong to which instruction set, and which are used; chosen once.
#pragma once

#include <cstddef>

#include "filter/kernels.hpp"
#include "score/kernels.hpp"

namespace facegrep::detail {

/// One row of the table. A family that has nothing better for an instruction set names the kernels
/// of a lower one.
struct Tier {
  const char* isa;  // the word of FACEGREP_ISA
  const ScoreKernels* score;
  const FilterKernels* filter;
  bool (*runs_here)() noexcept;
};

/// The compiled tiers, best first; the last one runs everywhere. Tests walk this table.
struct Tiers {
  const Tier* begin_;
  std::size_t count;
  const Tier* begin() const noexcept { return begin_; }
  const Tier* end() const noexcept { return begin_ + count; }
};
Tiers tiers() noexcept;

/// The tier named by FACEGREP_ISA, or else the best that runs here.
/// Throws   InvalidArgument for an unknown word and for a tier that this CPU lacks.
const Tier& active_tier();

}  // namespace facegrep::detail
