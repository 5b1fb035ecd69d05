#include "index/row_set.hpp"

#include <algorithm>
#include <type_traits>

namespace facegrep::detail {
namespace {

// Memory reads on three times as fast as it jumps (1M x 128-d, 57 % of the blocks at random: 3.4
// ms, all of them: 2.6 ms): so a gap of up to this many blocks is read, too.
constexpr std::uint32_t kGapRead = 3;

// A gathered byte costs as much as so many of a stream: rows lie apart, and each has a dot of its
// own. Fewer as long as caches keep the rows from one search to the next (1M x 128-d: 7 ns a row up
// to 2 % of them, 31 ns at 10 %; a block of the stream takes 18 ns from a cache, 42 ns from
// memory).
constexpr std::size_t kGatherCost = 6;
constexpr std::size_t kCachedBytes = std::size_t{4} << 20;
constexpr std::size_t kCachedGatherCost = 3;

bool is_gather_cheaper(const RowSet& set, const Library& library) {
  const std::size_t gathered = set.rows_count * library.dim;
  const std::size_t streamed = set.blocks.size() * library.plane.block_bytes();
  return gathered * (gathered <= kCachedBytes ? kCachedGatherCost : kGatherCost) < streamed;
}

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

// Makes `block` the last one of an ascending list.
void add_block(std::vector<BlockRows>& blocks, std::uint32_t block) {
  if (!blocks.empty()) {
    if (blocks.back().block == block) return;
    if (block - blocks.back().block <= kGapRead + 1) {
      while (blocks.back().block + 1 < block) blocks.push_back({blocks.back().block + 1, 0});
    }
  }
  blocks.push_back({block, 0});
}

}  // namespace

Bitmap select_assets(const Library& library, const Filter& filter) {
  Bitmap assets = library.live;
  apply(filter, library.columns, assets);
  return assets;
}

RowSet select_rows(const Library& library, const Filter& filter) {
  const Bitmap assets = select_assets(library, filter);
  RowSet set;
  set.assets_count = popcount(assets);
  for_each_run(assets, 0, library.assets(), [&](std::size_t first, std::size_t last) {
    std::size_t row = library.first_row[first];
    const std::size_t end = library.first_row[last];
    set.rows_count += end - row;
    while (row < end) {
      const auto block = static_cast<std::uint32_t>(row / kBlockRows);
      const std::size_t lane = row % kBlockRows;
      const std::size_t count = std::min(kBlockRows - lane, end - row);
      add_block(set.blocks, block);
      set.blocks.back().rows |= ((1U << count) - 1U) << lane;
      row += count;
    }
  });
  if (!is_gather_cheaper(set, library)) return set;
  set.strategy = Strategy::kGather;
  set.rows.reserve(set.rows_count);
  for (const BlockRows& block : set.blocks) {
    for_each_row(block, [&](std::uint32_t row) { set.rows.push_back(row); });
  }
  set.blocks = {};
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
