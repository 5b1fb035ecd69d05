// The int8 dot for arm64 with SDOT (optional from Armv8.2: Neoverse N1 2019, Apple M1 2020).

#include <arm_neon.h>

#include "score/kernels.hpp"

namespace facegrep::detail {
namespace {

int32_t dot_one(const int8_t* query, const int8_t* row, size_t dim) {
  int32x4_t sum = vdupq_n_s32(0);
  size_t d = 0;
  for (; d + 16 <= dim; d += 16) sum = vdotq_s32(sum, vld1q_s8(query + d), vld1q_s8(row + d));
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

// Nibbles fit in signed bytes, and sdot takes its four bytes of the query from a lane: nothing is
// broadcast. A chain for each nibble hides its latency where the registers suffice.
template <size_t kQueries>
void scan_plane(const PlaneScan& scan, const uint8_t* plane, const BlockRows* from, size_t count,
                BlockRows* left, size_t* left_counts) noexcept {
  constexpr size_t kHigh = kQueries <= 2 ? kVectors : 0;  // where the high nibbles' sums begin
  const size_t groups = scan.groups;
  const size_t block_bytes = (1 + groups) * 64;
  for (size_t q = 0; q < kQueries; ++q) left_counts[q] = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* block = plane + from[i].block * block_bytes;
    const uint8_t* ahead = plane + plane_ahead(from, i, count, block_bytes)->block * block_bytes;
    __builtin_prefetch(ahead);
    int32x4_t dots[kQueries][kVectors + kHigh];
    for (size_t q = 0; q < kQueries; ++q) {
      for (size_t v = 0; v < kVectors + kHigh; ++v) dots[q][v] = vdupq_n_s32(0);
    }
    for (size_t g = 0; g < groups; ++g) {
      __builtin_prefetch(ahead + (1 + g) * 64);
      int8x16_t low[kVectors];
      int8x16_t high[kVectors];
      for (size_t v = 0; v < kVectors; ++v) {
        const uint8x16_t bytes = vld1q_u8(block + (1 + g) * 64 + v * 16);
        low[v] = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
        high[v] = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
      }
      for (size_t q = 0; q < kQueries; ++q) {
        const int8x8_t code = vld1_s8(scan.codes + (g * kQueries + q) * 8);
        for (size_t v = 0; v < kVectors; ++v) {
          dots[q][v] = vdotq_lane_s32(dots[q][v], low[v], code, 0);
          dots[q][kHigh + v] = vdotq_lane_s32(dots[q][kHigh + v], high[v], code, 1);
        }
      }
    }
    for (size_t q = 0; q < kQueries; ++q) {
      for (size_t v = 0; v < kHigh; ++v) dots[q][v] = vaddq_s32(dots[q][v], dots[q][kHigh + v]);
      const uint32_t rows = from[i].rows & ~ruled_out(scan.cuts[q], dots[q], block);
      left[q * count + left_counts[q]] = {from[i].block, rows};
      left_counts[q] += rows != 0;
    }
  }
}

}  // namespace

const ScoreKernels kScoreNeonDotprod = {
    dot_rows, {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
