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

// Rows come from anywhere: the two cache lines that follow a prefetched one come by themselves.
constexpr size_t kPrefetchRows = 8;

void dot_rows(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
              size_t dim, int32_t* dots) noexcept {
  for (size_t i = 0; i < count; ++i) {
    if (i + kPrefetchRows < count) {
      const int8_t* ahead = codes + size_t{rows[i + kPrefetchRows]} * dim;
      for (size_t line = 0; line < dim; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T0);
    }
    dots[i] = dot_one(query, codes + size_t{rows[i]} * dim, dim);
  }
}

__m256i broadcast_4(const int8_t* codes) {
  int32_t four;
  __builtin_memcpy(&four, codes, 4);
  return _mm256_set1_epi32(four);
}

// E of eight rows and each query, from kHalves halves of a block. One query or two take both halves
// at once, so that each broadcast serves 16 rows; more of them would not leave registers for it.
// The loops over halves and queries must be unrolled, at any level of optimisation, for their sums
// to be registers.
template <size_t kQueries, size_t kHalves>
inline __attribute__((always_inline)) void dot_halves(const PlaneScan& scan, const uint8_t* block,
                                                      const uint8_t* ahead,
                                                      __m256i (*e)[kQueries]) {
  const __m256i low_nibbles = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  const size_t groups = scan.groups;
  __m256i dots[kHalves][kQueries];
#pragma GCC unroll 2
  for (size_t h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) dots[h][q] = _mm256_setzero_si256();
  }
  for (size_t g = 0; g < groups;) {
    // A sum of 16 bits takes 8 products of at most 2 * 15 * 127: four groups, then it is widened.
    const size_t end = groups - g < 4 ? groups : g + 4;
    __m256i sums[kHalves][kQueries];
#pragma GCC unroll 2
    for (size_t h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
      for (size_t q = 0; q < kQueries; ++q) sums[h][q] = _mm256_setzero_si256();
    }
    for (; g < end; ++g) {
      const uint8_t* place = block + g * 64;
      _mm_prefetch(ahead + g * 64, _MM_HINT_T0);
#pragma GCC unroll 2
      for (size_t h = 0; h < kHalves; ++h) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place + 32 * h));
        const __m256i low = _mm256_and_si256(bytes, low_nibbles);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_nibbles);
#pragma GCC unroll 4
        for (size_t q = 0; q < kQueries; ++q) {
          const int8_t* code = scan.codes + (g * kQueries + q) * 8;
          const __m256i products =
              _mm256_add_epi16(_mm256_maddubs_epi16(low, broadcast_4(code)),
                               _mm256_maddubs_epi16(high, broadcast_4(code + 4)));
          sums[h][q] = _mm256_add_epi16(sums[h][q], products);
        }
      }
    }
#pragma GCC unroll 2
    for (size_t h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
      for (size_t q = 0; q < kQueries; ++q) {
        dots[h][q] = _mm256_add_epi32(dots[h][q], _mm256_madd_epi16(sums[h][q], ones));
      }
    }
  }
#pragma GCC unroll 2
  for (size_t h = 0; h < kHalves; ++h) {
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) {
      e[h][q] = _mm256_sub_epi32(_mm256_slli_epi32(dots[h][q], 5),
                                 _mm256_set1_epi32(scan.cuts[q].offset));
    }
  }
}

// The rows of a half block that their bounds rule out: E < g * norm, with g >= 0.
unsigned ruled_out(const PlaneCut& cut, __m256i e, __m256i bounds) {
  const __m256 norm = _mm256_castsi256_ps(_mm256_slli_epi32(bounds, 16));
  const __m256 residual = _mm256_castsi256_ps(
      _mm256_and_si256(bounds, _mm256_set1_epi32(static_cast<int>(0xFFFF0000))));
  const __m256 g =
      _mm256_sub_ps(_mm256_set1_ps(cut.base), _mm256_mul_ps(_mm256_set1_ps(cut.slope), residual));
  const __m256 positive = _mm256_cmp_ps(g, _mm256_setzero_ps(), _CMP_GE_OQ);
  const __m256 below = _mm256_cmp_ps(_mm256_cvtepi32_ps(e), _mm256_mul_ps(g, norm), _CMP_LT_OQ);
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_and_ps(positive, below)));
}

template <size_t kQueries>
void scan_plane(const PlaneScan& scan, const uint8_t* plane, const BlockRows* from, size_t count,
                BlockRows* left, size_t* left_counts) noexcept {
  const size_t block_bytes = (1 + scan.groups) * 64;
  for (size_t q = 0; q < kQueries; ++q) left_counts[q] = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* block = plane + from[i].block * block_bytes;
    const uint8_t* ahead = plane + plane_ahead(from, i, count, block_bytes)->block * block_bytes;
    const __m256i* bounds = reinterpret_cast<const __m256i*>(block);
    _mm_prefetch(ahead, _MM_HINT_T0);
    __m256i e[2][kQueries];
    if constexpr (kQueries <= 2) {
      dot_halves<kQueries, 2>(scan, block + 64, ahead + 64, e);
    } else {
      dot_halves<kQueries, 1>(scan, block + 64, ahead + 64, e);
      dot_halves<kQueries, 1>(scan, block + 96, ahead + 64, e + 1);
    }
#pragma GCC unroll 4
    for (size_t q = 0; q < kQueries; ++q) {
      const unsigned out = ruled_out(scan.cuts[q], e[0][q], _mm256_loadu_si256(bounds)) |
                           ruled_out(scan.cuts[q], e[1][q], _mm256_loadu_si256(bounds + 1)) << 8;
      const uint32_t rows = from[i].rows & ~out;
      left[q * count + left_counts[q]] = {from[i].block, rows};
      left_counts[q] += rows != 0;
    }
  }
}

}  // namespace

const ScoreKernels kScoreAvx2 = {dot_rows,
                                 {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
