// Bitmaps and columns against the plainest loop. Twin: tests/test_index_search.py.

#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"
#include "filter/bitmap.hpp"
#include "filter/columns.hpp"
#include "tiers.hpp"

namespace facegrep::tests {
namespace {

std::mt19937 rng(3);

void runs_cover_exactly_the_set_bits() {
  for (std::size_t bits = 0; bits <= 200; ++bits) {
    for (const unsigned density : {0U, 1U, 5U, 9U, 10U}) {
      detail::Bitmap bitmap(detail::words_for(bits));
      for (std::size_t bit = 0; bit < bits; ++bit) {
        if (rng() % 10 < density) detail::set(bitmap, bit);
      }
      const std::size_t begin = bits == 0 ? 0 : rng() % bits;
      std::vector<bool> covered(bits);
      std::size_t last_end = begin;
      detail::for_each_run(bitmap, begin, bits, [&](std::size_t first, std::size_t last) {
        CHECK(first < last && last <= bits, "bits=", bits);
        CHECK(first == begin || first > last_end || last_end == begin, "runs touch, bits=", bits);
        last_end = last;
        for (std::size_t bit = first; bit < last; ++bit) covered[bit] = true;
      });
      for (std::size_t bit = begin; bit < bits; ++bit) {
        CHECK(covered[bit] == detail::test(bitmap, bit), "bits=", bits, " bit=", bit);
      }
    }
  }
}

void columns_that_begin_late_lack_the_field_before() {
  detail::Columns columns;
  const std::string abc = "abc";
  detail::AssetFields none;
  detail::AssetFields some;
  some.ints[0] = 12;
  some.texts[0] = abc;
  for (int i = 0; i < 70; ++i) {
    columns.append(columns.encode(i < 66 ? none : some));
  }
  columns.append(columns.encode(none));
  const auto passing = [&](const Filter& filter) {
    detail::Bitmap assets(detail::words_for(71), ~std::uint64_t{0});
    assets[1] = 0x7F;
    detail::apply(filter, columns, assets);
    return detail::popcount(assets);
  };
  CHECK(passing({{{IntField::kIntField1, {{12, 12}}}}, {}}) == 4, "exact");
  CHECK(passing({{{IntField::kIntField1, {{INT64_MIN, INT64_MAX}}}}, {}}) == 4, "everything");
  CHECK(passing({{{IntField::kIntField1, {{0, 0}}}}, {}}) == 0, "the zero of the absent");
  CHECK(passing({{{IntField::kIntField1, {{0, 5}, {12, 13}, {1, 3}}}}, {}}) == 4, "any of");
  CHECK(passing({{{IntField::kUtcCreate, {{0, 9}}}}, {}}) == 0, "an unused column");
  CHECK(passing({{{IntField::kIntField1, {}}}, {}}) == 0, "nothing matches an empty list");
  CHECK(passing({{}, {{TextField::kStrField1, {"abc", "x"}}}}) == 4, "text");
  CHECK(passing({{}, {{TextField::kStrField1, {""}}}}) == 0, "an empty string is a value");
  CHECK(passing({{}, {{TextField::kNamespace, {"abc"}}}}) == 0, "an unused text column");
  CHECK(passing({}) == 71, "no filter");
}

// Every length, so that whole words and the rest of one are both met; extremes on both ends.
void every_length_gives_the_bits_of_the_definition(const detail::Tier& tier) {
  const std::int64_t pool[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, 7, INT64_MAX - 1, INT64_MAX};
  const auto any = [&] { return pool[rng() % 8]; };
  for (std::size_t count = 0; count <= 257; ++count) {
    std::vector<std::int64_t> values(count);
    std::vector<std::uint32_t> codes(count);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = any();
      codes[i] = rng() % 3 == 0 ? 0xFFFFFFFFU : static_cast<std::uint32_t>(rng() % 3);
    }
    const std::int64_t lowest = any();
    const std::int64_t highest = any();
    const std::uint32_t wanted = count % 2 == 0 ? 0xFFFFFFFFU : 1;
    std::vector<std::uint64_t> in_range(detail::words_for(count));
    std::vector<std::uint64_t> equal(detail::words_for(count));
    if (count > 3) detail::set(equal, 3);  // what is there stays
    tier.filter->or_in_range(values.data(), count, lowest, highest, in_range.data());
    tier.filter->or_equal(codes.data(), count, wanted, equal.data());
    for (std::size_t i = 0; i < detail::words_for(count) * 64; ++i) {
      const bool in = i < count && values[i] >= lowest && values[i] <= highest;
      const bool same = (i < count && codes[i] == wanted) || (count > 3 && i == 3);
      CHECK(detail::test(in_range, i) == in, tier.isa, " count=", count, " i=", i);
      CHECK(detail::test(equal, i) == same, tier.isa, " count=", count, " i=", i);
    }
  }
}

int run() {
  for_each_tier(every_length_gives_the_bits_of_the_definition);
  runs_cover_exactly_the_set_bits();
  columns_that_begin_late_lack_the_field_before();
  return report("filter");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
