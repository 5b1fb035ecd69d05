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

int32x4_t e_of(const PlaneScan& scan, int32x4_t dots) {
  return vsubq_s32(vshlq_n_s32(dots, 5), vdupq_n_s32(scan.offset));
}

// The mask of a block's 16 rows.
uint16_t not_below(const PlaneScan& scan, const int32x4_t* dots, const BlockBound& bound) {
  static const uint32_t kBits[kLanes] = {1, 2, 4, 8};
  const uint32x4_t bits = vld1q_u32(kBits);
  const float32x4_t cut = vdupq_n_f32(block_cut(scan, bound));
  uint32x4_t mask = vdupq_n_u32(0);
  for (size_t v = kVectors; v-- > 0;) {
    const uint32x4_t below = vcltq_f32(vcvtq_f32_s32(e_of(scan, dots[v])), cut);
    mask = vorrq_u32(vshlq_n_u32(mask, 4), vbicq_u32(bits, below));
  }
  return static_cast<uint16_t>(vaddvq_u32(mask));
}

// Nibbles fit in signed bytes, and sdot takes its four bytes of the query from a lane: nothing is
// broadcast. A chain for each nibble hides its latency where the registers suffice.
template <size_t kQueries>
void scan_plane(const PlaneScan* scans, const uint8_t* plane, const BlockBound* bounds,
                size_t blocks, BlockHit* hits, size_t* counts) noexcept {
  constexpr size_t kHigh = kQueries <= 2 ? kVectors : 0;  // where the high nibbles' sums begin
  const size_t groups = scans[0].groups;
  for (size_t q = 0; q < kQueries; ++q) counts[q] = 0;
  for (size_t b = 0; b < blocks; ++b, plane += groups * 64) {
    int32x4_t dots[kQueries][kVectors + kHigh];
    for (size_t q = 0; q < kQueries; ++q) {
      for (size_t v = 0; v < kVectors + kHigh; ++v) dots[q][v] = vdupq_n_s32(0);
    }
    for (size_t g = 0; g < groups; ++g) {
      int8x16_t low[kVectors];
      int8x16_t high[kVectors];
      for (size_t v = 0; v < kVectors; ++v) {
        const uint8x16_t bytes = vld1q_u8(plane + g * 64 + v * 16);
        low[v] = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
        high[v] = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
      }
      for (size_t q = 0; q < kQueries; ++q) {
        const int8x8_t code = vld1_s8(scans[q].code + g * 8);
        for (size_t v = 0; v < kVectors; ++v) {
          dots[q][v] = vdotq_lane_s32(dots[q][v], low[v], code, 0);
          dots[q][kHigh + v] = vdotq_lane_s32(dots[q][kHigh + v], high[v], code, 1);
        }
      }
    }
    for (size_t q = 0; q < kQueries; ++q) {
      for (size_t v = 0; v < kHigh; ++v) dots[q][v] = vaddq_s32(dots[q][v], dots[q][kHigh + v]);
      const uint16_t mask = not_below(scans[q], dots[q], bounds[b]);
      if (mask == 0) continue;
      BlockHit& hit = hits[q * blocks + counts[q]++];
      hit.block = static_cast<uint32_t>(b);
      hit.lanes = mask;
      for (size_t v = 0; v < kVectors; ++v) vst1q_s32(hit.e + 4 * v, e_of(scans[q], dots[q][v]));
    }
  }
}

}  // namespace

const ScoreKernels kScoreNeonDotprod = {
    dot_rows, {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
