#include "score/query.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "facegrep/error.hpp"
#include "score/exact.hpp"

namespace facegrep::detail {

float Query::row_cut(double cut) const noexcept {
  const double exact = (cut - residual_norm - kSlack) / scale;
  const float nearest = static_cast<float>(exact);
  return std::nextafterf(nearest, -std::numeric_limits<float>::infinity());
}

Query prepare_query(const float* values, std::size_t dim, std::size_t number) {
  const double norm = std::sqrt(dot_f64(values, values, dim));
  if (!std::isfinite(norm) || norm == 0.0) {
    throw InvalidArgument("queries: row " + std::to_string(number) +
                          (norm == 0.0 ? " is all zero: it has no direction to compare"
                                       : " has NaN or infinity; expected finite numbers"));
  }
  Query query{values, norm, std::vector<std::int8_t>(dim), 0.0, 0.0};
  float largest = 0.0F;
  for (std::size_t i = 0; i < dim; ++i) largest = std::max(largest, std::fabs(values[i]));
  query.scale = static_cast<double>(largest) / norm / 127.0;
  const double steps = 1.0 / query.scale;
  const double inverse_norm = 1.0 / norm;
  double squares = 0.0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double a = static_cast<double>(values[i]) * inverse_norm;
    const double b = std::clamp(std::nearbyint(a * steps), -127.0, 127.0);
    const double e = a - query.scale * b;
    query.code[i] = static_cast<std::int8_t>(b);
    squares += e * e;
  }
  query.residual_norm = std::sqrt(squares);
  return query;
}

}  // namespace facegrep::detail
