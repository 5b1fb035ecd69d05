// The filter's kernels for AVX2: four int64 or eight codes a comparison.

#include <immintrin.h>

#include "filter/kernels.hpp"

namespace facegrep::detail {
namespace {

void or_in_range(const int64_t* values, size_t count, int64_t lowest, int64_t highest,
                 uint64_t* bits) noexcept {
  const __m256i low = _mm256_set1_epi64x(lowest);
  const __m256i high = _mm256_set1_epi64x(highest);
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    uint64_t outside = 0;
    for (size_t j = 0; j < 64; j += 4) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i + j));
      const __m256i out = _mm256_or_si256(_mm256_cmpgt_epi64(low, v), _mm256_cmpgt_epi64(v, high));
      const int four = _mm256_movemask_pd(_mm256_castsi256_pd(out));
      outside |= static_cast<uint64_t>(static_cast<unsigned>(four)) << j;
    }
    bits[i / 64] |= ~outside;
  }
  for (; i < count; ++i) {
    const uint64_t holds = (values[i] >= lowest) & (values[i] <= highest);
    bits[i / 64] |= holds << (i % 64);
  }
}

void or_equal(const uint32_t* codes, size_t count, uint32_t wanted, uint64_t* bits) noexcept {
  const __m256i all = _mm256_set1_epi32(static_cast<int>(wanted));
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    uint64_t equal = 0;
    for (size_t j = 0; j < 64; j += 8) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i + j));
      const int eight = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(v, all)));
      equal |= static_cast<uint64_t>(static_cast<unsigned>(eight)) << j;
    }
    bits[i / 64] |= equal;
  }
  for (; i < count; ++i) {
    const uint64_t holds = codes[i] == wanted;
    bits[i / 64] |= holds << (i % 64);
  }
}

}  // namespace

const FilterKernels kFilterAvx2 = {or_in_range, or_equal};

}  // namespace facegrep::detail
