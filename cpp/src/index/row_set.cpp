#include "index/row_set.hpp"

#include <algorithm>
#include <type_traits>

namespace facegrep::detail {
namespace {

// Below this share of the rows, gathering them costs less than bounding all blocks: a gathered row
// reads dim bytes in its own place, a row of the plane dim / 2 in a stream.
constexpr std::size_t kGatherBelow = 6;

template <typename T>
void add_to(std::string& key, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  key.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// One text for one filter; lengths go before what they count, so no two filters share it.
std::string key_of(const Filter& filter) {
  std::string key;
  for (const IntCondition& condition : filter.ints) {
    add_to(key, condition.field);
    add_to(key, condition.any_of.size());
    for (const IntRange& range : condition.any_of) {
      add_to(key, range.lowest);
      add_to(key, range.highest);
    }
  }
  key += '|';
  for (const TextCondition& condition : filter.texts) {
    add_to(key, condition.field);
    add_to(key, condition.any_of.size());
    for (const std::string& text : condition.any_of) {
      add_to(key, text.size());
      key += text;
    }
  }
  return key;
}

}  // namespace

RowSet select_rows(const Library& library, const Filter& filter) {
  RowSet set{library.live, 0, 0, {}, Strategy::kPlane};
  apply(filter, library.columns, set.assets);
  set.assets_count = popcount(set.assets);
  for_each_run(set.assets, 0, library.assets(), [&](std::size_t first, std::size_t last) {
    set.rows_count += library.first_row[last] - library.first_row[first];
  });
  if (set.rows_count < library.rows() / kGatherBelow) {
    set.strategy = Strategy::kGather;
    return set;
  }
  set.lanes.resize(library.plane.blocks());
  for_each_run(set.assets, 0, library.assets(), [&](std::size_t first, std::size_t last) {
    std::size_t row = library.first_row[first];
    const std::size_t end = library.first_row[last];
    while (row < end) {
      const std::size_t lane = row % kBlockRows;
      const std::size_t count = std::min(kBlockRows - lane, end - row);
      set.lanes[row / kBlockRows] |= static_cast<std::uint16_t>(((1U << count) - 1U) << lane);
      row += count;
    }
  });
  return set;
}

std::shared_ptr<const RowSet> RowSetCache::get(const Library& library, const Filter& filter) {
  std::string key = key_of(filter);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.key == key; });
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
      return entries_.front().rows;
    }
  }
  // Unlocked: two threads may both make it, and the later one's is kept too until it falls out.
  auto rows = std::make_shared<const RowSet>(select_rows(library, filter));
  const std::lock_guard<std::mutex> lock(mutex_);
  entries_.push_front({std::move(key), rows});
  if (entries_.size() > kLargest) entries_.pop_back();
  return rows;
}

void RowSetCache::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  entries_.clear();
}

}  // namespace facegrep::detail
