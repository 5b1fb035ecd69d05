// The choice of the kernels, made once per process.
#pragma once

#include <cstddef>

#include "score/kernels.hpp"

namespace facegrep::detail {

/// One row of the dispatch table.
struct ScoreTier {
  const ScoreKernels* kernels;
  bool (*runs_here)() noexcept;
};

/// The compiled tiers, best first; the last one runs everywhere. Tests walk this table.
struct ScoreTiers {
  const ScoreTier* begin_;
  std::size_t count;
  const ScoreTier* begin() const noexcept { return begin_; }
  const ScoreTier* end() const noexcept { return begin_ + count; }
};
ScoreTiers score_tiers() noexcept;

/// The tier named by FACEGREP_ISA, or else the best that runs here.
/// Throws   InvalidArgument for an unknown word and for a tier that this CPU lacks.
const ScoreKernels& score_kernels();

}  // namespace facegrep::detail
