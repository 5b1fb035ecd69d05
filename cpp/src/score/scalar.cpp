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

uint16_t block_mask(const PlaneScan& scan, const uint8_t* block, const BlockBound& bound) {
  int32_t dots[kBlockRows] = {};
  for (size_t g = 0; g < scan.groups; ++g) {
    for (size_t i = 0; i < 64; ++i) {
      const int32_t byte = block[g * 64 + i];
      dots[i / 4] += (byte & 15) * scan.code[g * 8 + i % 4];
      dots[i / 4] += (byte >> 4) * scan.code[g * 8 + 4 + i % 4];
    }
  }
  const float cut = block_cut(scan, bound);
  unsigned mask = 0;
  for (size_t lane = 0; lane < kBlockRows; ++lane) {
    const int32_t e = 32 * dots[lane] - scan.offset;
    mask |= static_cast<unsigned>(!(static_cast<float>(e) < cut)) << lane;
  }
  return static_cast<uint16_t>(mask);
}

void scan_plane(const PlaneScan* scans, size_t queries, const uint8_t* plane,
                const BlockBound* bounds, size_t blocks, uint16_t* masks, size_t* hits) noexcept {
  for (size_t q = 0; q < queries; ++q) {
    hits[q] = 0;
    for (size_t b = 0; b < blocks; ++b) {
      const uint16_t mask = block_mask(scans[q], plane + b * scans[q].groups * 64, bounds[b]);
      masks[q * blocks + b] = mask;
      hits[q] += mask != 0;
    }
  }
}

}  // namespace

const ScoreKernels kScoreScalar = {"scalar", dot_rows, scan_plane};

}  // namespace facegrep::detail
