// The certificate of score/query.hpp: no row whose exact score reaches a cut is ever ruled out.

#include "score/query.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "facegrep/error.hpp"
#include "score/exact.hpp"
#include "score/kernels.hpp"

namespace facegrep::tests {
namespace {

std::mt19937 rng(42);

// Whether the scan rules the row out at a cut, if it knows the norm rounded down by up to 2^-7.
bool rules_out(const detail::Query& query, const std::vector<std::int8_t>& code, double cut) {
  std::int32_t dot = 0;
  const std::uint32_t row = 0;
  detail::kScoreScalar.dot_rows(query.code.data(), code.data(), &row, 1, code.size(), &dot);
  const double norm =
      detail::norm_of(code.data(), code.size()) * (rng() % 2 == 0 ? 1.0 : 1 - 0x1p-7);
  const float lower = std::nextafterf(static_cast<float>(norm), 0.0F);
  return detail::is_ruled_out(dot, lower, query.row_cut(cut));
}

// Ruling out at the row's own score.
void check_row(const std::vector<float>& values, const std::vector<std::int8_t>& code) {
  const detail::Query query = detail::prepare_query(values.data(), values.size(), 0);
  const double score = detail::exact_score(values.data(), query.norm, code.data(), code.size());
  CHECK(!rules_out(query, code, score), "dim=", values.size(), " score=", score);
  // And it is a bound worth having: what lies well below a cut is ruled out.
  const double far =
      std::max(score, 0.0) * (1 + 0x1p-6) + 2 * query.residual_norm + 8 * detail::kSlack;
  CHECK(rules_out(query, code, far), "dim=", values.size(), " score=", score, " is kept at ", far);
}

std::vector<std::int8_t> random_code(std::size_t dim, int magnitude) {
  std::uniform_int_distribution<int> any(-magnitude, magnitude);
  std::vector<std::int8_t> code(dim);
  for (std::int8_t& c : code) c = static_cast<std::int8_t>(any(rng));
  if (std::all_of(code.begin(), code.end(), [](int c) { return c == 0; })) code[0] = 1;
  return code;
}

void random_rows_keep_their_place() {
  std::normal_distribution<float> normal;
  for (const std::size_t dim : {1U, 2U, 3U, 5U, 16U, 63U, 100U, 128U, 512U, 4096U}) {
    for (std::size_t i = 0; i < some_of(2000) / (1 + dim / 256); ++i) {
      std::vector<float> values(dim);
      for (float& x : values) x = normal(rng);
      check_row(values, random_code(dim, i % 2 == 0 ? 127 : 3));
    }
  }
}

// The row that is as far above s<b,c>/||c|| as Cauchy-Schwarz allows: c along the residual e.
void rows_along_the_residual_sit_on_the_bound() {
  std::normal_distribution<float> normal;
  for (const std::size_t dim : {2U, 7U, 64U, 128U, 512U, 4096U}) {
    for (std::size_t i = 0; i < some_of(500) / (1 + dim / 256); ++i) {
      std::vector<float> values(dim);
      for (float& x : values) x = normal(rng);
      if (i % 5 == 0) std::fill(values.begin() + 1, values.end(), 0.49F * values[0] / 127.0F);
      const detail::Query query = detail::prepare_query(values.data(), dim, 0);
      std::vector<std::int8_t> code(dim);
      double largest = 0.0;
      std::vector<double> residual(dim);
      for (std::size_t d = 0; d < dim; ++d) {
        residual[d] = static_cast<double>(values[d]) / query.norm - query.scale * query.code[d];
        largest = std::max(largest, std::fabs(residual[d]));
      }
      for (std::size_t d = 0; d < dim; ++d) {
        code[d] = static_cast<std::int8_t>(std::nearbyint(residual[d] / largest * 127.0));
      }
      if (largest == 0.0) code[0] = 1;
      check_row(values, code);
    }
  }
}

void extreme_rows_keep_their_place() {
  for (const std::size_t dim : {1U, 3U, 128U, 4096U}) {
    for (const float size : {1e-44F, 1e-30F, 1.0F, 3e38F}) {
      std::vector<float> values(dim, size);
      for (const int c : {-127, 1, 127}) {
        check_row(values, std::vector<std::int8_t>(dim, static_cast<std::int8_t>(c)));
      }
      std::vector<std::int8_t> one_hot(dim);
      one_hot[dim - 1] = 1;
      check_row(values, one_hot);
      values[0] = -size;
      check_row(values, one_hot);
    }
  }
}

void queries_without_a_direction_are_refused() {
  const std::vector<float> zero(4), inf{1.0F, INFINITY}, nan{NAN, 1.0F};
  CHECK_THROWS(InvalidArgument, detail::prepare_query(zero.data(), 4, 0), "zero");
  CHECK_THROWS(InvalidArgument, detail::prepare_query(inf.data(), 2, 0), "inf");
  CHECK_THROWS(InvalidArgument, detail::prepare_query(nan.data(), 2, 0), "nan");
}

int run() {
  random_rows_keep_their_place();
  rows_along_the_residual_sit_on_the_bound();
  extreme_rows_keep_their_place();
  queries_without_a_direction_are_refused();
  return report("query");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
