// The int8 dot in plain C++: what every other file here must equal, bit for bit.

#include "score/kernels.hpp"

namespace facegrep::detail {
namespace {

void dot_rows(const int8_t* query, const int8_t* rows, size_t count, size_t dim,
              int32_t* dots) noexcept {
  for (size_t r = 0; r < count; ++r) {
    const int8_t* row = rows + r * dim;
    int32_t dot = 0;
    for (size_t d = 0; d < dim; ++d) dot += int32_t{query[d]} * int32_t{row[d]};
    dots[r] = dot;
  }
}

}  // namespace

const ScoreKernels kScoreScalar = {"scalar", dot_rows};

}  // namespace facegrep::detail
