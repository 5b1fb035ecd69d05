// Codes: the definition, its extremes and its refusals. Twin: tests/test_index_rows.py.

#include "facegrep/quantize.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "check.hpp"
#include "facegrep/error.hpp"

namespace facegrep::tests {
namespace {

std::vector<std::int8_t> code_of(const std::vector<float>& x) {
  std::vector<std::int8_t> code(x.size());
  quantize(x.data(), 1, x.size(), code.data());
  return code;
}

void codes_follow_the_definition_at_every_length() {
  std::mt19937 rng(7);
  std::normal_distribution<float> normal;
  for (std::size_t dim = 1; dim <= 257; ++dim) {
    std::vector<float> x(dim);
    for (float& value : x) value = normal(rng);
    float largest = 0.0F;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    const float scale = 127.0F / largest;
    const auto code = code_of(x);
    for (std::size_t i = 0; i < dim; ++i) {
      const float product = x[i] * scale;
      CHECK(static_cast<float>(code[i]) == std::nearbyint(product), "dim=", dim, " i=", i);
    }
  }
}

void halves_round_to_even() {
  const auto code = code_of({127.0F, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -127.0F});
  CHECK(code == (std::vector<std::int8_t>{127, 0, 2, 2, 0, -2, -127}), "halves");
}

void size_does_not_matter() {
  for (const float size : {1e-36F, 1e-20F, 1.0F, 1e30F, 3e38F}) {
    CHECK(code_of({size, -size, size / 4}) == (std::vector<std::int8_t>{127, -127, 32}), size);
  }
}

void vectors_without_a_direction_are_refused() {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS(InvalidArgument, code_of({0.0F, -0.0F}), "zero");
  CHECK_THROWS(InvalidArgument, code_of({1e-38F, 0.0F}), "its scale overflows");
  CHECK_THROWS(InvalidArgument, code_of({1.0F, inf}), "inf");
  CHECK_THROWS(InvalidArgument, code_of({nan, 1.0F}), "nan first");
  CHECK_THROWS(InvalidArgument, code_of({1.0F, nan}), "nan last");
}

int run() {
  codes_follow_the_definition_at_every_length();
  halves_round_to_even();
  size_does_not_matter();
  vectors_without_a_direction_are_refused();
  return report("quantize");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
