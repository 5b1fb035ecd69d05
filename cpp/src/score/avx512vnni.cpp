// The int8 dot for AVX-512 VNNI (Ice Lake 2019, Zen 4 2022).

#include <immintrin.h>

#include "score/kernels.hpp"

namespace facegrep::detail {
namespace {

// vpdpbusd multiplies unsigned by signed bytes, so a row's codes go in as c + 128 and
// 128 * sum(query) comes off at the end. Masked-off bytes of the query are 0: they add nothing.
__m512i as_unsigned(__m512i codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }

__mmask64 first(size_t bytes) { return bytes >= 64 ? ~__mmask64{0} : (__mmask64{1} << bytes) - 1; }

int32_t sum_of(const int8_t* query, size_t dim) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t d = 0; d < dim; d += 64) {
    const __m512i q = _mm512_maskz_loadu_epi8(first(dim - d), query + d);
    sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), q);
  }
  return _mm512_reduce_add_epi32(sum);
}

// Four rows at a time: the four chains hide the five cycles of vpdpbusd.
void dot_rows(const int8_t* query, const int8_t* rows, size_t count, size_t dim,
              int32_t* dots) noexcept {
  const int32_t offset = 128 * sum_of(query, dim);
  size_t r = 0;
  for (; r + 4 <= count; r += 4) {
    const int8_t* row = rows + r * dim;
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (size_t d = 0; d < dim; d += 64) {
      const __mmask64 mask = first(dim - d);
      const __m512i q = _mm512_maskz_loadu_epi8(mask, query + d);
      sum0 = _mm512_dpbusd_epi32(sum0, as_unsigned(_mm512_maskz_loadu_epi8(mask, row + d)), q);
      sum1 =
          _mm512_dpbusd_epi32(sum1, as_unsigned(_mm512_maskz_loadu_epi8(mask, row + dim + d)), q);
      sum2 = _mm512_dpbusd_epi32(sum2,
                                 as_unsigned(_mm512_maskz_loadu_epi8(mask, row + 2 * dim + d)), q);
      sum3 = _mm512_dpbusd_epi32(sum3,
                                 as_unsigned(_mm512_maskz_loadu_epi8(mask, row + 3 * dim + d)), q);
    }
    dots[r] = _mm512_reduce_add_epi32(sum0) - offset;
    dots[r + 1] = _mm512_reduce_add_epi32(sum1) - offset;
    dots[r + 2] = _mm512_reduce_add_epi32(sum2) - offset;
    dots[r + 3] = _mm512_reduce_add_epi32(sum3) - offset;
  }
  for (; r < count; ++r) {
    const int8_t* row = rows + r * dim;
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += 64) {
      const __mmask64 mask = first(dim - d);
      const __m512i q = _mm512_maskz_loadu_epi8(mask, query + d);
      sum = _mm512_dpbusd_epi32(sum, as_unsigned(_mm512_maskz_loadu_epi8(mask, row + d)), q);
    }
    dots[r] = _mm512_reduce_add_epi32(sum) - offset;
  }
}

}  // namespace

const ScoreKernels kScoreAvx512Vnni = {"avx512vnni", dot_rows};

}  // namespace facegrep::detail
