// The kernels of the scan: one table an instruction set, one .cpp each. Scalar is the
// specification. ISA files include C headers, intrinsics and this: an inline function of the STL
// compiled there could become the copy that the whole program uses, and kill an older CPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace facegrep::detail {

enum : size_t { kBlockRows = 16, kPlaneQueries = 4 };

/// Rows of a block of the plane: bit i is row i.
struct BlockRows {
  uint32_t block;
  uint32_t rows;
};

/// What the plane's kernels need of a query at a cut; see score/plane.hpp.
struct PlaneCut {
  int32_t offset;
  float slope;
  float base;
};

/// 1 to kPlaneQueries queries that share each load.
struct PlaneScan {
  const int8_t* codes;  // (groups, queries, 8): side by side, so that one register finds them all
  size_t groups;
  const PlaneCut* cuts;  // (queries)
};

struct ScoreKernels {
  /// dots[i] = sum over d of query[d] * codes[rows[i] * dim + d], exact in int32.
  /// Shapes   query (dim), codes (any, dim) contiguous, rows and dots (count); touches nothing
  /// else. Units    query in [-127, 127], codes in [-128, 127]; dim <= 4096, so |dot| < 2^27.
  void (*dot_rows)(const int8_t* query, const int8_t* codes, const uint32_t* rows, size_t count,
                   size_t dim, int32_t* dots) noexcept;

  /// scan_plane[queries - 1]: of the rows in `from`, those that their bounds do not rule out.
  /// Shapes   plane (any, 1 + groups, 64); from (count); left (queries, count): the first
  ///          left_counts[q] of query q are the answer, in the order of `from`, blocks without a
  ///          row left out; others of its `count` may be overwritten.
  void (*scan_plane[kPlaneQueries])(const PlaneScan& scan, const uint8_t* plane,
                                    const BlockRows* from, size_t count, BlockRows* left,
                                    size_t* left_counts) noexcept;
};

/// How many blocks a scan of the plane asks the memory for in advance, as bytes: 64 lines keep it
/// busy. The hardware's own prefetcher stops at every page (1M x 128-d on a Zen 3: 3.5 ms without,
/// 2.4 ms with), and knows nothing of the blocks that a filter leaves out.
enum : size_t { kPlanePrefetchBytes = 4096 };

/// `from` so many blocks ahead of the i-th, or the last.
static inline const BlockRows* plane_ahead(const BlockRows* from, size_t i, size_t count,
                                           size_t block_bytes) {
  const size_t distance = 1 + kPlanePrefetchBytes / block_bytes;
  return from + (i + distance < count ? i + distance : count - 1);
}

extern const ScoreKernels kScoreScalar;
extern const ScoreKernels kScoreAvx2;
extern const ScoreKernels kScoreAvx512Vnni;
extern const ScoreKernels kScoreNeon;
extern const ScoreKernels kScoreNeonDotprod;

}  // namespace facegrep::detail
