// Filters become bitmaps: a column and a condition give 64 bits at a time.

#include <algorithm>

#include "cpu/tiers.hpp"
#include "filter/columns.hpp"

namespace facegrep::detail {
namespace {

// Ands into each word of `assets` the 64 answers of `holds(asset)`; words that are zero already,
// and assets past the column's end (they lack the field), cost nothing.
template <typename Holds>
void keep_if(Bitmap& assets, std::size_t size, Holds&& holds) {
  for (std::size_t w = 0; w < assets.size(); ++w) {
    if (assets[w] == 0) continue;
    const std::size_t first = w * 64;
    const std::size_t last = std::min(first + 64, size);
    std::uint64_t word = 0;
    for (std::size_t asset = first; asset < last; ++asset) {
      word |= static_cast<std::uint64_t>(holds(asset)) << (asset - first);
    }
    assets[w] &= word;
  }
}

// Assets past the bitmap's end lack the field.
void keep_only(Bitmap& assets, const Bitmap& holds) {
  for (std::size_t w = 0; w < assets.size(); ++w) assets[w] &= w < holds.size() ? holds[w] : 0;
}

// Sorted and disjoint, so that one range of the list can hold a value, and a search finds it.
std::vector<IntRange> merged(std::vector<IntRange> ranges) {
  ranges.erase(std::remove_if(ranges.begin(), ranges.end(),
                              [](const IntRange& r) { return r.lowest > r.highest; }),
               ranges.end());
  std::sort(ranges.begin(), ranges.end(),
            [](const IntRange& a, const IntRange& b) { return a.lowest < b.lowest; });
  std::vector<IntRange> out;
  for (const IntRange& range : ranges) {
    if (!out.empty() && range.lowest <= out.back().highest) {
      out.back().highest = std::max(out.back().highest, range.highest);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

// Up to so many ranges or strings, a pass over the column for each is faster than one pass that
// looks each value up.
constexpr std::size_t kMostPasses = 8;

void apply(const IntCondition& condition, const IntColumn& column, Bitmap& assets) {
  const std::vector<IntRange> ranges = merged(condition.any_of);
  const auto& values = column.values;
  if (ranges.size() <= kMostPasses) {
    Bitmap holds(words_for(values.size()));
    for (const IntRange& range : ranges) {
      active_tier().filter->or_in_range(values.data(), values.size(), range.lowest, range.highest,
                                        holds.data());
    }
    keep_only(assets, holds);
  } else {
    keep_if(assets, values.size(), [&](std::size_t asset) {
      const std::int64_t value = values[asset];
      const auto after =
          std::upper_bound(ranges.begin(), ranges.end(), value,
                           [](std::int64_t v, const IntRange& range) { return v < range.lowest; });
      return after != ranges.begin() && value <= std::prev(after)->highest;
    });
  }
  keep_only(assets, column.present);  // an absent value is stored as 0
}

void apply(const TextCondition& condition, const TextColumn& column, Bitmap& assets) {
  std::vector<std::uint32_t> wanted;  // never 0, "absent"
  for (const std::string& text : condition.any_of) {
    const std::uint32_t code = column.code_of.find(text, column.strings);
    if (code != IdTable::kNone) wanted.push_back(code);
  }
  const auto& codes = column.codes;
  if (wanted.size() <= kMostPasses) {
    Bitmap holds(words_for(codes.size()));
    for (const std::uint32_t code : wanted) {
      active_tier().filter->or_equal(codes.data(), codes.size(), code, holds.data());
    }
    keep_only(assets, holds);
  } else {
    std::vector<bool> is_wanted(column.strings.size());
    for (const std::uint32_t code : wanted) is_wanted[code] = true;
    keep_if(assets, codes.size(),
            [&](std::size_t asset) { return static_cast<bool>(is_wanted[codes[asset]]); });
  }
}

}  // namespace

void apply(const Filter& filter, const Columns& columns, Bitmap& assets) {
  for (const IntCondition& condition : filter.ints) {
    apply(condition, columns.of(condition.field), assets);
  }
  for (const TextCondition& condition : filter.texts) {
    apply(condition, columns.of(condition.field), assets);
  }
}

}  // namespace facegrep::detail
