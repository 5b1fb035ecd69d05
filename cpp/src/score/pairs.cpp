#include <cmath>
#include <string>

#include "facegrep/error.hpp"
#include "facegrep/score.hpp"
#include "score/exact.hpp"

namespace facegrep {

void scores(const float* queries, const std::int8_t* codes, std::size_t n, std::size_t dim,
            double* out) {
  for (std::size_t i = 0; i < n; ++i) {
    const float* query = queries + i * dim;
    const std::int8_t* code = codes + i * dim;
    const double norm = std::sqrt(detail::dot_f64(query, query, dim));
    if (!(norm > 0.0) || !std::isfinite(norm)) {
      throw InvalidArgument("queries[" + std::to_string(i) + "]: expected finite, not all zero");
    }
    if (detail::norm_of(code, dim) == 0.0) {
      throw InvalidArgument("codes[" + std::to_string(i) + "]: expected one that is not all zero");
    }
    out[i] = detail::exact_score(query, norm, code, dim);
  }
}

}  // namespace facegrep
