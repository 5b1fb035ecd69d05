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

// Rows come from anywhere. 16 rows ahead of two to eight lines each keep as many reads under way
// as a core has room for.
constexpr size_t kPrefetchRows = 16;

__m512i dot_of(const int8_t* query, const int8_t* row, size_t dim) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t d = 0; d < dim; d += 64) {
    const __mmask64 mask = first(dim - d);
    const __m512i q = _mm512_maskz_loadu_epi8(mask, query + d);
    sum = _mm512_dpbusd_epi32(sum, as_unsigned(_mm512_maskz_loadu_epi8(mask, row + d)), q);
  }
  return sum;
}

// The sums of four vectors' lanes: a tree for all of them costs little more than one for one.
__m128i sums_of(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i abcd =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

void dot_rows(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
              size_t dim, int32_t* dots) noexcept {
  const int32_t offset = 128 * sum_of(query, dim);
  const auto prefetch = [&](size_t i) {
    if (i >= count) return;
    const int8_t* ahead = codes + size_t{rows[i]} * dim;
    for (size_t line = 0; line < dim; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T0);
  };
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    __m512i sums[4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      prefetch(i + j + kPrefetchRows);
      sums[j] = dot_of(query, codes + size_t{rows[i + j]} * dim, dim);
    }
    const __m128i four = sums_of(sums[0], sums[1], sums[2], sums[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dots + i),
                     _mm_sub_epi32(four, _mm_set1_epi32(offset)));
  }
  for (; i < count; ++i) {
    const __m512i sum = dot_of(query, codes + size_t{rows[i]} * dim, dim);
    dots[i] = _mm512_reduce_add_epi32(sum) - offset;
  }
}

__m512i broadcast_4(const int8_t* codes) {
  int32_t four;
  __builtin_memcpy(&four, codes, 4);
  return _mm512_set1_epi32(four);
}

// The rows that their bounds rule out: E < g * norm, with g >= 0.
uint32_t ruled_out(const PlaneCut& cut, __m512i e, __m512i bounds) {
  const __m512 norm = _mm512_castsi512_ps(_mm512_slli_epi32(bounds, 16));
  const __m512 residual = _mm512_castsi512_ps(
      _mm512_and_si512(bounds, _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
  const __m512 g =
      _mm512_sub_ps(_mm512_set1_ps(cut.base), _mm512_mul_ps(_mm512_set1_ps(cut.slope), residual));
  const uint32_t positive = _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GE_OQ);
  return positive & _mm512_cmp_ps_mask(_mm512_cvtepi32_ps(e), _mm512_mul_ps(g, norm), _CMP_LT_OQ);
}

// E of a block's rows for each query. Nibbles are unsigned and the query signed: just what vpdpbusd
// multiplies; the high ones are left in their place, 16 times as large. A chain for each nibble
// hides its latency. (Two blocks at once, to halve the broadcasts, are two streams of memory, which
// Zen 4 reads half as fast as one.)
template <size_t kQueries>
inline __attribute__((always_inline)) void dot_block(const PlaneScan& scan, const uint8_t* block,
                                                     __m512i* e) {
  const __m512i low_nibbles = _mm512_set1_epi8(15);
  const size_t groups = scan.groups;
  __m512i low_dots[kQueries];
  __m512i high_dots[kQueries];
#pragma GCC unroll 4
  for (size_t q = 0; q < kQueries; ++q) low_dots[q] = high_dots[q] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (size_t g = 0; g < groups; ++g) {
    __m512i bytes = _mm512_loadu_si512(block + (1 + g) * 64);
    // Else GCC loads the line twice, for both nibbles: 23 GB/s instead of 25.
#if defined(__AVX512F__)  // not where the tests emulate it
    __asm__("" : "+v"(bytes));
#endif
    const __m512i low = _mm512_and_si512(bytes, low_nibbles);
    const __m512i high = _mm512_andnot_si512(low_nibbles, bytes);
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) {
      const int8_t* code = scan.codes + (g * kQueries + q) * 8;
      low_dots[q] = _mm512_dpbusd_epi32(low_dots[q], low, broadcast_4(code));
      high_dots[q] = _mm512_dpbusd_epi32(high_dots[q], high, broadcast_4(code + 4));
    }
  }
#pragma GCC unroll 4
  for (size_t q = 0; q < kQueries; ++q) {
    const __m512i dots =
        _mm512_add_epi32(_mm512_slli_epi32(low_dots[q], 5), _mm512_slli_epi32(high_dots[q], 1));
    e[q] = _mm512_sub_epi32(dots, _mm512_set1_epi32(scan.cuts[q].offset));
  }
}

template <size_t kQueries>
void scan_plane(const PlaneScan& scan, const uint8_t* plane, const BlockRows* from, size_t count,
                BlockRows* left, size_t* left_counts) noexcept {
  const size_t block_bytes = (1 + scan.groups) * 64;
  for (size_t q = 0; q < kQueries; ++q) left_counts[q] = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* block = plane + from[i].block * block_bytes;
    const BlockRows* ahead = plane_ahead(from, i, count, block_bytes);
    // Runs are better left to the hardware: 1M x 128-d at 30 GB/s, with prefetches at 24. Into the
    // second level: 17 lines a block are most of what the first can have under way.
    if (ahead->block - from[i].block != static_cast<size_t>(ahead - (from + i))) {
      const uint8_t* far = plane + ahead->block * block_bytes;
      for (size_t line = 0; line < block_bytes; line += 64) _mm_prefetch(far + line, _MM_HINT_T1);
    }
    __m512i e[kQueries];
    dot_block<kQueries>(scan, block, e);
    const __m512i bounds = _mm512_loadu_si512(block);
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) {
      const uint32_t rows = from[i].rows & ~ruled_out(scan.cuts[q], e[q], bounds);
      left[q * count + left_counts[q]] = {from[i].block, rows};
      left_counts[q] += rows != 0;
    }
  }
}

}  // namespace

const ScoreKernels kScoreAvx512Vnni = {
    dot_rows, {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
