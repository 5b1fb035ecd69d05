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

// Writes E and the lanes of a block.
void scan_block(const PlaneScan& scan, const uint8_t* block, const BlockBound& bound,
                BlockHit& hit) {
  int32_t dots[kBlockRows] = {};
  for (size_t g = 0; g < scan.groups; ++g) {
    for (size_t i = 0; i < 64; ++i) {
      const int32_t byte = block[g * 64 + i];
      dots[i / 4] += (byte & 15) * scan.code[g * 8 + i % 4];
      dots[i / 4] += (byte >> 4) * scan.code[g * 8 + 4 + i % 4];
    }
  }
  const float cut = block_cut(scan, bound);
  hit.lanes = 0;
  for (size_t lane = 0; lane < kBlockRows; ++lane) {
    hit.e[lane] = 32 * dots[lane] - scan.offset;
    hit.lanes |= static_cast<uint32_t>(!(static_cast<float>(hit.e[lane]) < cut)) << lane;
  }
}

template <size_t kQueries>
void scan_plane(const PlaneScan* scans, const uint8_t* plane, const BlockBound* bounds,
                size_t blocks, BlockHit* hits, size_t* counts) noexcept {
  for (size_t q = 0; q < kQueries; ++q) {
    counts[q] = 0;
    for (size_t b = 0; b < blocks; ++b) {
      BlockHit hit;
      hit.block = static_cast<uint32_t>(b);
      scan_block(scans[q], plane + b * scans[q].groups * 64, bounds[b], hit);
      if (hit.lanes != 0) hits[q * blocks + counts[q]++] = hit;
    }
  }
}

}  // namespace

const ScoreKernels kScoreScalar = {dot_rows,
                                   {scan_plane<1>, scan_plane<2>, scan_plane<3>, scan_plane<4>}};

}  // namespace facegrep::detail
