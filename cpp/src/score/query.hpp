// A query made ready for the scan, and the proof that the scan loses nothing.
//
// Certificate. Let q be the float32 query, c a row's int8 code, a = q / ||q||. Quantise the query
// too: s = max|a| / 127, b = rint(a / s) in [-127, 127], e = a - s*b. Then
//
//   cos(q, c) = <a, c> / ||c|| = (s * <b, c> + <e, c>) / ||c||
//            <= s * <b, c> / ||c|| + ||e||                       (Cauchy-Schwarz on <e, c>)
//
// <b, c> is the exact int32 of the kernels. A row may be discarded only if its bound is strictly
// below the cut (the threshold, or the running k-th best score): an equal score can still win on
// its media id. The comparison is made in float32 as
//
//   float(<b, c>) * inverse_norm  >=  row_cut(cut) = (cut - ||e|| - slack) / s, rounded down
//
// Slack. inverse_norm (float32), float(<b, c>) and their product each round once: the left side has
// a relative error below 3.001 * 2^-24. In units of the score it is s * <b, c> / ||c|| in size, at
// most ||s*b|| <= 1 + ||e|| <= 1 + sqrt(4096) / 2 / 127 < 1.252. So the error stays below
// 1.252 * 3.001 * 2^-24 < 3.76 * 2^-24. What float64 adds (the exact score's own rounding, the
// quotients a, s, e) is below 2^-40. slack = 2^-22 = 4 * 2^-24 covers both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace facegrep::detail {

inline constexpr double kSlack = 0x1p-22;

struct Query {
  const float* values;            // the caller's, (dim)
  double norm;                    // sqrt(dot_f64(values, values))
  std::vector<std::int8_t> code;  // b
  double scale;                   // s
  double residual_norm;           // ||e||

  /// The smallest float(<b, c>) * inverse_norm of a row that may still score `cut` or more.
  float row_cut(double cut) const noexcept;
};

/// Throws InvalidArgument unless the query is finite and not all zero; `number` is named then.
Query prepare_query(const float* values, std::size_t dim, std::size_t number);

}  // namespace facegrep::detail
