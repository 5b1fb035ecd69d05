// The kernels of the filter: a column and a value, or a range, become a bitmap. Scalar is the
// specification. What holds for score/kernels.hpp holds here: C headers and intrinsics only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace facegrep::detail {

/// Each ors one bit a value into bits ((count + 63) / 64 words) and touches nothing else.
struct FilterKernels {
  /// lowest <= values[i] <= highest
  void (*or_in_range)(const int64_t* values, size_t count, int64_t lowest, int64_t highest,
                      uint64_t* bits) noexcept;
  /// codes[i] == wanted
  void (*or_equal)(const uint32_t* codes, size_t count, uint32_t wanted, uint64_t* bits) noexcept;
};

extern const FilterKernels kFilterScalar;
extern const FilterKernels kFilterAvx2;

}  // namespace facegrep::detail
