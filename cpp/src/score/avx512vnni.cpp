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

constexpr size_t kPrefetchRows = 8;

void dot_rows(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
              size_t dim, int32_t* dots) noexcept {
  const int32_t offset = 128 * sum_of(query, dim);
  for (size_t i = 0; i < count; ++i) {
    if (i + kPrefetchRows < count) {
      const int8_t* ahead = codes + size_t{rows[i + kPrefetchRows]} * dim;
      for (size_t line = 0; line < dim; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T0);
    }
    const int8_t* row = codes + size_t{rows[i]} * dim;
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += 64) {
      const __mmask64 mask = first(dim - d);
      const __m512i q = _mm512_maskz_loadu_epi8(mask, query + d);
      sum = _mm512_dpbusd_epi32(sum, as_unsigned(_mm512_maskz_loadu_epi8(mask, row + d)), q);
    }
    dots[i] = _mm512_reduce_add_epi32(sum) - offset;
  }
}

__m512i broadcast_4(const int8_t* codes) {
  int32_t four;
  __builtin_memcpy(&four, codes, 4);
  return _mm512_set1_epi32(four);
}

// The plane is read once, in order: 64 lines ahead keeps the memory busy while this one is used.
// The hardware's own prefetcher stops at every page.
constexpr size_t kPlanePrefetchBytes = 4096;

// Nibbles are unsigned and the query signed: just what vpdpbusd multiplies. Two chains a query, for
// the two nibbles, hide its latency.
template <size_t kQueries>
void scan_plane(const PlaneScan* scans, const uint8_t* plane, const BlockBound* bounds,
                size_t blocks, BlockHit* hits, size_t* counts) noexcept {
  const __m512i low_nibbles = _mm512_set1_epi8(15);
  const size_t groups = scans[0].groups;
#pragma GCC unroll 4
  for (size_t q = 0; q < kQueries; ++q) counts[q] = 0;
  for (size_t b = 0; b < blocks; ++b, plane += groups * 64) {
    __m512i low_dots[kQueries];
    __m512i high_dots[kQueries];
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) low_dots[q] = high_dots[q] = _mm512_setzero_si512();
    for (size_t g = 0; g < groups; ++g) {
      _mm_prefetch(plane + g * 64 + kPlanePrefetchBytes, _MM_HINT_T0);
      const __m512i bytes = _mm512_loadu_si512(plane + g * 64);
      const __m512i low = _mm512_and_si512(bytes, low_nibbles);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low_nibbles);
#pragma GCC unroll 4
      for (size_t q = 0; q < kQueries; ++q) {
        const int8_t* code = scans[q].code + g * 8;
        low_dots[q] = _mm512_dpbusd_epi32(low_dots[q], low, broadcast_4(code));
        high_dots[q] = _mm512_dpbusd_epi32(high_dots[q], high, broadcast_4(code + 4));
      }
    }
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) {
      const __m512i dots = _mm512_add_epi32(low_dots[q], high_dots[q]);
      const __m512i e =
          _mm512_sub_epi32(_mm512_slli_epi32(dots, 5), _mm512_set1_epi32(scans[q].offset));
      const __m512 cut = _mm512_set1_ps(block_cut(scans[q], bounds[b]));
      const __mmask16 mask = _mm512_cmp_ps_mask(_mm512_cvtepi32_ps(e), cut, _CMP_NLT_UQ);
      if (mask == 0) continue;
      BlockHit& hit = hits[q * blocks + counts[q]++];
      hit.block = static_cast<uint32_t>(b);
      hit.lanes = mask;
      _mm512_storeu_si512(hit.e, e);
    }
  }
}

}  // namespace

const ScoreKernels kScoreAvx512Vnni = {
    dot_rows, {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
