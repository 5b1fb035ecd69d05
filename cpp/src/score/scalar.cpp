// The kernels in plain C++: what every other file here must equal, bit for bit.

#include "score/kernels.hpp"

namespace facegrep::detail {
namespace {

void dot_rows(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
              size_t dim, int32_t* dots) noexcept {
  for (size_t i = 0; i < count; ++i) {
    const int8_t* row = codes + size_t{rows[i]} * dim;
    int32_t dot = 0;
    for (size_t d = 0; d < dim; ++d) dot += int32_t{query[d]} * int32_t{row[d]};
    dots[i] = dot;
  }
}

float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// Whether E < g * norm, with g >= 0: the certificate of score/plane.hpp, in float32 without
// contraction.
bool is_ruled_out(const PlaneCut& cut, int32_t e, uint32_t bound) {
  const float norm = float_of(bound << 16);
  const float residual = float_of(bound & 0xFFFF0000U);
  const float g = cut.base - cut.slope * residual;
  return g >= 0.0F && static_cast<float>(e) < g * norm;
}

// The rows of a block that are not ruled out. code (groups, stride, 8)
uint32_t scan_block(const PlaneCut& cut, const int8_t* code, size_t groups, size_t stride,
                    const uint8_t* block) {
  uint32_t bounds[kBlockRows];
  __builtin_memcpy(bounds, block, sizeof bounds);
  int32_t dots[kBlockRows] = {};
  for (size_t g = 0; g < groups; ++g, code += 8 * stride) {
    for (size_t i = 0; i < 64; ++i) {
      const int32_t byte = block[(1 + g) * 64 + i];
      dots[i / 4] += (byte & 15) * code[i % 4];
      dots[i / 4] += (byte >> 4) * code[4 + i % 4];
    }
  }
  uint32_t rows = 0;
  for (size_t row = 0; row < kBlockRows; ++row) {
    const int32_t e = 32 * dots[row] - cut.offset;
    rows |= static_cast<uint32_t>(!is_ruled_out(cut, e, bounds[row])) << row;
  }
  return rows;
}

template <size_t kQueries>
void scan_plane(const PlaneScan& scan, const uint8_t* plane, const BlockRows* from, size_t count,
                BlockRows* left, size_t* left_counts) noexcept {
  for (size_t q = 0; q < kQueries; ++q) {
    left_counts[q] = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint8_t* block = plane + from[i].block * (1 + scan.groups) * 64;
      const uint32_t rows =
          from[i].rows & scan_block(scan.cuts[q], scan.codes + 8 * q, scan.groups, kQueries, block);
      left[q * count + left_counts[q]] = {from[i].block, rows};
      left_counts[q] += rows != 0;
    }
  }
}

}  // namespace

const ScoreKernels kScoreScalar = {dot_rows,
                                   {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
