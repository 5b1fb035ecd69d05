// The packed plane: the high four bits of every code, laid out so that one pass rules out most rows
// on half the bytes, and the proof that it loses none.
//
// Layout. With u = c + 128, hi = u >> 4 in 0..15. A block holds 16 rows; a group of 8 dimensions of
// a block is 64 bytes: byte 4 * lane + k (lane 0..15, k 0..3) has dimension 8g + k in its low
// nibble and 8g + 4 + k in its high one. So a 32-bit lane of a vector belongs to one row, a dot
// product with the query's four bytes broadcast advances 8 or 16 rows at once, and nothing is ever
// summed across lanes. Dimensions past dim are 0 in plane and query alike; rows past the last are
// masked out.
//
// Certificate. Take a, s, b, e of score/query.hpp and c = 16*hi - 120.5 + r, so |r| <= 7.5 in each
// of the dim real dimensions. Then
//
//   <a, c> = s*<b, c> + <e, c> = s*(16*<b, hi> - 120.5*sum(b)) + s*<b, r> + <e, c>
//   cos(q, c) <= s*E / (2*||c||) + s*||b|| * rho + ||e||,    E = 32*<b, hi> - 241*sum(b),
//
// by Cauchy-Schwarz, with rho = ||r|| / ||c||. E is an exact int32: |E| <= 2 * 127 * 128 * 4096.
// The middle term takes ||b||, not ||a||/s: b is what r is multiplied with. A row may be discarded
// at a cut t only if its bound lies strictly below t, that is if
//
//   E < g * ||c||,    g = 2 * (t - ||e|| - slack) / s - 2 * ||b|| * rho.
//
// A row is tested with its own norm and rho, once its block's bound has let it pass:
// E * (1 / ||c||) < g. A block keeps the smallest norm and the largest rho of its rows, rounded
// down and up. For g >= 0 the smallest norm gives the lowest cut; for g < 0 the largest norm that
// there can be does, 127*sqrt(dim) (128 for codes that were not made by quantize). A block whose
// rho exceeds 4 is never discarded.
//
// Slack. The comparisons are made in float32. In units of the score: float(E) errs by 2^-24 of
// s*|E|/(2||c||) <= ||s*b|| * (1 + rho) <= 1.26 * 5 = 6.3; the two terms of g are at most 1.3
// and 5.04, rounded once and twice, their difference at most 6.4 and rounded once: 17.8. A block's
// g * norm rounds once more (6.4), which makes 30.5 units of 2^-24; a row's inverse norm and its
// product with E each once (12.6), which makes 36.7. slack = 2^-18 is 64 of them, and float64 adds
// less than 2^-40. For g < 0 the block's norm is taken 2^-20 larger, which is more than the
// product's rounding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory/aligned.hpp"
#include "score/kernels.hpp"
#include "score/query.hpp"

namespace facegrep::detail {

inline constexpr double kPlaneSlack = 0x1p-18;

/// What is known of one row.
struct RowBound {
  float inverse_norm;  // 1 / ||code||, rounded once
  float residual;      // rho, rounded up; infinity: never discard
};

/// The query as the plane's kernels take it. Rebuild `limit` with set_cut() as the cut rises.
struct PlaneQuery {
  std::vector<std::int8_t> code;  // b, padded with zeros to whole groups
  std::int32_t offset;            // 241 * sum(b)
  double half_scale;              // s / 2
  double residual_norm;           // ||e||
  float slope;                    // 2 * ||b||
  float base;                     // 2 * (t - ||e|| - slack) / s
  void set_cut(double cut) noexcept;
};

PlaneQuery prepare_plane_query(const Query& query);

/// The plane of a library's rows, in their order.
class Plane {
 public:
  explicit Plane(std::size_t dim);

  std::size_t groups() const noexcept { return groups_; }
  std::size_t block_bytes() const noexcept { return groups_ * 64; }
  std::size_t blocks() const noexcept { return bounds_.size(); }
  const std::uint8_t* block(std::size_t b) const noexcept {
    return data_.data() + b * block_bytes();
  }
  const BlockBound* bounds() const noexcept { return bounds_.data(); }
  const RowBound& row(std::size_t r) const noexcept { return row_bounds_[r]; }
  /// No code of dim dimensions is longer, 2^-20 included; see the certificate.
  float largest_norm() const noexcept { return largest_norm_; }

  void reserve(std::size_t rows);
  /// Adds the next row. Call reserve() before.
  void append(const std::int8_t* code, double norm) noexcept;
  /// Overwrites a row's nibbles. Its block's bound stays: it only is a little looser.
  void wipe(std::size_t row) noexcept;
  std::size_t nbytes() const noexcept;

 private:
  std::size_t dim_;
  std::size_t groups_;
  float largest_norm_;
  std::size_t rows_ = 0;
  AlignedVector<std::uint8_t> data_;  // (blocks, groups, 64)
  std::vector<BlockBound> bounds_;    // (blocks)
  std::vector<RowBound> row_bounds_;  // (rows)
};

/// Whether the row's own bound leaves it in, given its E.
inline bool reaches(const PlaneScan& scan, std::int32_t e, const RowBound& row) noexcept {
  return !(static_cast<float>(e) * row.inverse_norm < scan.base - scan.slope * row.residual);
}

/// The two together, for the kernels; valid as long as both.
inline PlaneScan plane_scan(const Plane& plane, const PlaneQuery& query) noexcept {
  return {query.code.data(), plane.groups(), query.offset,
          query.slope,       query.base,     plane.largest_norm()};
}

}  // namespace facegrep::detail
