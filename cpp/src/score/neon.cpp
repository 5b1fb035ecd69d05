// The int8 dot for arm64's baseline (Armv8.0: Cortex-A53 2012, Cortex-A72 2015).

#include <arm_neon.h>

#include "score/kernels.hpp"

namespace facegrep::detail {
namespace {

// A sum of 16 bits takes two products of at most 127 * 128 = 16256, but not three.
int32_t dot_one(const int8_t* query, const int8_t* row, size_t dim) {
  int32x4_t sum = vdupq_n_s32(0);
  size_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    const int8x16_t q = vld1q_s8(query + d);
    const int8x16_t r = vld1q_s8(row + d);
    const int16x8_t products = vmull_s8(vget_low_s8(q), vget_low_s8(r));
    sum = vpadalq_s16(sum, vmlal_high_s8(products, q, r));
  }
  int32_t dot = vaddvq_s32(sum);
  for (; d < dim; ++d) dot += int32_t{query[d]} * int32_t{row[d]};
  return dot;
}

constexpr size_t kPrefetchRows = 8;

void dot_rows(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
              size_t dim, int32_t* dots) noexcept {
  for (size_t i = 0; i < count; ++i) {
    if (i + kPrefetchRows < count) {
      const int8_t* ahead = codes + size_t{rows[i + kPrefetchRows]} * dim;
      for (size_t line = 0; line < dim; line += 64) __builtin_prefetch(ahead + line);
    }
    dots[i] = dot_one(query, codes + size_t{rows[i]} * dim, dim);
  }
}

constexpr size_t kLanes = 4;  // rows of a vector
constexpr size_t kVectors = kBlockRows / kLanes;
constexpr size_t kHalf = kVectors / 2;  // four queries' sums of so many just fit in the registers

// dots[q][from] and on: those of eight rows, from one half of a block.
template <size_t kQueries>
void half_block(const PlaneScan& scan, const uint8_t* block, size_t from,
                int32x4_t (*dots)[kVectors]) {
  const uint8_t* half = block + from * 16;
  const size_t groups = scan.groups;
  int32x4_t sums[kQueries][kHalf];
  for (size_t q = 0; q < kQueries; ++q) {
    for (size_t v = 0; v < kHalf; ++v) sums[q][v] = vdupq_n_s32(0);
  }
  for (size_t g = 0; g < groups;) {
    // 8 products of at most 15 * 127 from four groups: a pair of sums, 30480, still has 16 bits.
    const size_t end = groups - g < 4 ? groups : g + 4;
    int16x8_t first[kQueries][kHalf];   // of the vector's lanes 0 and 1
    int16x8_t second[kQueries][kHalf];  // of its lanes 2 and 3
    for (size_t q = 0; q < kQueries; ++q) {
      for (size_t v = 0; v < kHalf; ++v) first[q][v] = second[q][v] = vdupq_n_s16(0);
    }
    for (; g < end; ++g) {
      int8x16_t low[kHalf];
      int8x16_t high[kHalf];
      for (size_t v = 0; v < kHalf; ++v) {
        const uint8x16_t bytes = vld1q_u8(half + g * 64 + v * 16);
        low[v] = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
        high[v] = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
      }
      for (size_t q = 0; q < kQueries; ++q) {
        const int32x2_t code = vreinterpret_s32_s8(vld1_s8(scan.codes + (g * kQueries + q) * 8));
        const int8x16_t code_low = vreinterpretq_s8_s32(vdupq_lane_s32(code, 0));
        const int8x16_t code_high = vreinterpretq_s8_s32(vdupq_lane_s32(code, 1));
        for (size_t v = 0; v < kHalf; ++v) {
          first[q][v] = vmlal_s8(first[q][v], vget_low_s8(low[v]), vget_low_s8(code_low));
          second[q][v] = vmlal_high_s8(second[q][v], low[v], code_low);
          first[q][v] = vmlal_s8(first[q][v], vget_low_s8(high[v]), vget_low_s8(code_high));
          second[q][v] = vmlal_high_s8(second[q][v], high[v], code_high);
        }
      }
    }
    for (size_t q = 0; q < kQueries; ++q) {
      for (size_t v = 0; v < kHalf; ++v) {
        sums[q][v] = vpadalq_s16(sums[q][v], vpaddq_s16(first[q][v], second[q][v]));
      }
    }
  }
  for (size_t q = 0; q < kQueries; ++q) {
    for (size_t v = 0; v < kHalf; ++v) dots[q][from + v] = sums[q][v];
  }
}

int32x4_t e_of(const PlaneCut& cut, int32x4_t dots) {
  return vsubq_s32(vshlq_n_s32(dots, 5), vdupq_n_s32(cut.offset));
}

// The rows of a block that their bounds rule out: E < g * norm, with g >= 0.
uint32_t ruled_out(const PlaneCut& cut, const int32x4_t* dots, const uint8_t* block) {
  static const uint32_t kBits[kLanes] = {1, 2, 4, 8};
  const uint32x4_t bits = vld1q_u32(kBits);
  uint32x4_t mask = vdupq_n_u32(0);
  for (size_t v = kVectors; v-- > 0;) {
    const uint32x4_t bounds = vreinterpretq_u32_u8(vld1q_u8(block + v * 16));
    const float32x4_t norm = vreinterpretq_f32_u32(vshlq_n_u32(bounds, 16));
    const float32x4_t residual = vreinterpretq_f32_u32(vandq_u32(bounds, vdupq_n_u32(0xFFFF0000U)));
    const float32x4_t g =
        vsubq_f32(vdupq_n_f32(cut.base), vmulq_f32(vdupq_n_f32(cut.slope), residual));
    const uint32x4_t below = vcltq_f32(vcvtq_f32_s32(e_of(cut, dots[v])), vmulq_f32(g, norm));
    const uint32x4_t out = vandq_u32(vcgeq_f32(g, vdupq_n_f32(0.0F)), below);
    mask = vorrq_u32(vshlq_n_u32(mask, 4), vandq_u32(bits, out));
  }
  return vaddvq_u32(mask);
}

template <size_t kQueries>
void scan_plane(const PlaneScan& scan, const uint8_t* plane, const BlockRows* from, size_t count,
                BlockRows* left, size_t* left_counts) noexcept {
  const size_t block_bytes = (1 + scan.groups) * 64;
  for (size_t q = 0; q < kQueries; ++q) left_counts[q] = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* block = plane + from[i].block * block_bytes;
    const uint8_t* ahead = plane + plane_ahead(from, i, count, block_bytes)->block * block_bytes;
    for (size_t line = 0; line < block_bytes; line += 64) __builtin_prefetch(ahead + line);
    int32x4_t dots[kQueries][kVectors];
    half_block<kQueries>(scan, block + 64, 0, dots);
    half_block<kQueries>(scan, block + 64, kHalf, dots);
    for (size_t q = 0; q < kQueries; ++q) {
      const uint32_t rows = from[i].rows & ~ruled_out(scan.cuts[q], dots[q], block);
      left[q * count + left_counts[q]] = {from[i].block, rows};
      left_counts[q] += rows != 0;
    }
  }
}

}  // namespace

const ScoreKernels kScoreNeon = {dot_rows,
                                 {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
