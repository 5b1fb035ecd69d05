// The filter's kernels in plain C++: what every other file here must equal.

#include "filter/kernels.hpp"

namespace facegrep::detail {
namespace {

void or_in_range(const int64_t* values, size_t count, int64_t lowest, int64_t highest,
                 uint64_t* bits) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint64_t holds = (values[i] >= lowest) & (values[i] <= highest);
    bits[i / 64] |= holds << (i % 64);
  }
}

void or_equal(const uint32_t* codes, size_t count, uint32_t wanted, uint64_t* bits) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const uint64_t holds = codes[i] == wanted;
    bits[i / 64] |= holds << (i % 64);
  }
}

}  // namespace

const FilterKernels kFilterScalar = {or_in_range, or_equal};

}  // namespace facegrep::detail
