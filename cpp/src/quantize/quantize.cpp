#include "facegrep/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "facegrep/error.hpp"

namespace facegrep {
namespace {

// max(|x|), or NaN when any element is NaN: `!(a <= max)` is true for NaN, and stays so.
float max_magnitude(const float* x, std::size_t dim) noexcept {
  float largest = 0.0F;
  bool has_nan = false;
  for (std::size_t i = 0; i < dim; ++i) {
    const float magnitude = std::fabs(x[i]);
    has_nan |= std::isnan(magnitude);
    largest = std::max(largest, magnitude);
  }
  return has_nan ? std::numeric_limits<float>::quiet_NaN() : largest;
}

[[noreturn]] void refuse(std::size_t row, float largest) {
  const std::string where = "vectors: row " + std::to_string(row);
  if (!std::isfinite(largest)) {
    throw InvalidArgument(where + " has NaN or infinity; expected finite numbers");
  }
  throw InvalidArgument(where + (largest == 0.0F ? " is all zero" : " is too close to zero") +
                        ": it has no direction to compare");
}

}  // namespace

void quantize(const float* embeddings, std::size_t count, std::size_t dim, std::int8_t* codes) {
  for (std::size_t row = 0; row < count; ++row) {
    const float* x = embeddings + row * dim;
    std::int8_t* code = codes + row * dim;
    const float largest = max_magnitude(x, dim);
    const float scale = 127.0F / largest;
    if (!std::isfinite(largest) || !std::isfinite(scale)) refuse(row, largest);
    for (std::size_t i = 0; i < dim; ++i) {
      // The default rounding mode is to nearest, ties to even; |x * scale| < 127.5, so it fits.
      code[i] = static_cast<std::int8_t>(std::nearbyintf(x[i] * scale));
    }
  }
}

}  // namespace facegrep
