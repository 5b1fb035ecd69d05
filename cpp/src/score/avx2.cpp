// The int8 dot for AVX2 (Haswell 2013, Zen 1 2017).

#include <immintrin.h>

#include "score/kernels.hpp"

namespace facegrep::detail {
namespace {

// 16 codes, widened: vpmaddubsw on bytes would be unsigned times signed, and saturates.
__m256i load_16_codes(const int8_t* codes) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
}

int32_t sum_lanes(__m256i v) {
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2)));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtsi128_si32(x);
}

// The last dim % 16 dimensions of a row.
int32_t dot_tail(const int8_t* query, const int8_t* row, size_t from, size_t dim) {
  int32_t dot = 0;
  for (size_t d = from; d < dim; ++d) dot += int32_t{query[d]} * int32_t{row[d]};
  return dot;
}

int32_t dot_one(const int8_t* query, const int8_t* row, size_t dim) {
  __m256i sum = _mm256_setzero_si256();
  size_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    sum =
        _mm256_add_epi32(sum, _mm256_madd_epi16(load_16_codes(query + d), load_16_codes(row + d)));
  }
  return sum_lanes(sum) + dot_tail(query, row, d, dim);
}

// Four rows share each widened piece of the query, and one reduction of four sums at the end.
void dot_rows(const int8_t* query, const int8_t* rows, size_t count, size_t dim,
              int32_t* dots) noexcept {
  size_t r = 0;
  for (; r + 4 <= count; r += 4) {
    const int8_t* row = rows + r * dim;
    __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    size_t d = 0;
    for (; d + 16 <= dim; d += 16) {
      const __m256i q = load_16_codes(query + d);
      sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(q, load_16_codes(row + d)));
      sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(q, load_16_codes(row + dim + d)));
      sum2 = _mm256_add_epi32(sum2, _mm256_madd_epi16(q, load_16_codes(row + 2 * dim + d)));
      sum3 = _mm256_add_epi32(sum3, _mm256_madd_epi16(q, load_16_codes(row + 3 * dim + d)));
    }
    const __m256i sums =
        _mm256_hadd_epi32(_mm256_hadd_epi32(sum0, sum1), _mm256_hadd_epi32(sum2, sum3));
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dots + r), four);
    if (d == dim) continue;
    for (size_t i = 0; i < 4; ++i) dots[r + i] += dot_tail(query, row + i * dim, d, dim);
  }
  for (; r < count; ++r) dots[r] = dot_one(query, rows + r * dim, dim);
}

}  // namespace

const ScoreKernels kScoreAvx2 = {"avx2", dot_rows};

}  // namespace facegrep::detail
