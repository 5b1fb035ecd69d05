// The kernels of the scan: one table an instruction set, one .cpp each. Scalar is the
// specification. ISA files include C headers, intrinsics and this: an inline function of the STL
// compiled there could become the copy that the whole program uses, and kill an older CPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace facegrep::detail {

enum : size_t { kBlockRows = 16, kPlaneQueries = 4 };

/// What is known of the rows of a block, for score/plane.hpp's certificate.
struct BlockBound {
  float smallest_norm;     // rounded down
  float largest_residual;  // rho, rounded up; infinity: never discard
};

/// Everything of a query and a cut that the plane's kernel needs; see score/plane.hpp.
struct PlaneScan {
  const int8_t* code;  // (groups * 8)
  size_t groups;
  int32_t offset;
  float slope;
  float base;
  float largest_norm;
};

/// A block with rows that are not ruled out.
struct BlockHit {
  uint32_t block;
  uint32_t lanes;         // a bit a row
  int32_t e[kBlockRows];  // E of all 16 rows
};

struct ScoreKernels {
  /// dots[i] = sum over d of query[d] * codes[rows[i] * dim + d], exact in int32.
  /// Shapes   query (dim), codes (any, dim) contiguous, rows and dots (count); touches nothing
  /// else. Units    query in [-127, 127], codes in [-128, 127]; dim <= 4096, so |dot| < 2^27.
  void (*dot_rows)(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
                   size_t dim, int32_t* dots) noexcept;

  /// scan_plane[queries - 1]: which rows of `blocks` blocks the block's bound does not rule out,
  /// for 1 to kPlaneQueries queries that share each load. Shapes   scans (queries), of equal
  /// `groups`; plane (blocks, groups, 64); bounds (blocks);
  ///          hits (queries, blocks): the first counts[q] of query q are written, in order.
  /// Bits of rows that are not there mean nothing.
  void (*scan_plane[kPlaneQueries])(const PlaneScan* scans, const uint8_t* plane,
                                    const BlockBound* bounds, size_t blocks, BlockHit* hits,
                                    size_t* counts) noexcept;
};

/// The cut of a block: rows with float(E) < it are ruled out. One formula for every tier, in
/// float32 without contraction.
static inline float block_cut(const PlaneScan& scan, const BlockBound& bound) {
  const float g = scan.base - scan.slope * bound.largest_residual;
  return g * (g >= 0.0F ? bound.smallest_norm : scan.largest_norm);
}

extern const ScoreKernels kScoreScalar;
extern const ScoreKernels kScoreAvx2;
extern const ScoreKernels kScoreAvx512Vnni;
extern const ScoreKernels kScoreNeon;
extern const ScoreKernels kScoreNeonDotprod;

}  // namespace facegrep::detail
