#include "index/row_set.hpp"

#include <algorithm>
#include <type_traits>

namespace facegrep::detail {
namespace {

// A jump in the plane costs as much as reading on for so many bytes (1M x 128-d, 10 % of the assets
// at random: 57 % of the blocks, each jumped to, 3.4 ms; gaps of up to 3 of them read, which leaves
// 1,200 jumps, 2.8 ms; all of them 2.5 ms). So smaller gaps are read.
constexpr std::size_t kJumpBytes = std::size_t{12} << 10;

// What a gathered row costs, in bytes of the stream: it lies apart from the others, and has a dot
// of its own. Less as long as caches keep the rows from one search to the next. (1M faces in pairs,
// a row: 128-d, 13 ns up to 5 % of them and 37 ns beyond 15 %; 512-d, 25 ns at 2 %, 62 ns from 5 %
// on; a byte of the stream 0.04 ns. Gathered and streamed meet at 10 % and 16 %.)
constexpr std::size_t kCachedBytes = std::size_t{8} << 20;
std::size_t gather_cost(std::size_t rows, std::size_t dim) {
  return rows * dim <= kCachedBytes ? rows * (200 + dim) : rows * (600 + 2 * dim);
}

bool is_gather_cheaper(const RowSet& set, const Library& library) {
  std::size_t jumps = 0;
  for (std::size_t i = 1; i < set.blocks.size(); ++i) {
    jumps += set.blocks[i].block != set.blocks[i - 1].block + 1;
  }
  const std::size_t streamed = set.blocks.size() * library.plane.block_bytes() + jumps * kJumpBytes;
  return gather_cost(set.rows_count, library.dim) < streamed;
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
  key += '|';
  if (filter.keys) {
    add_to(key, filter.keys->size());
    for (const std::int64_t value : *filter.keys) add_to(key, value);
  }
  return key;
}

// Clears the bits of the assets whose keys are not given. Keys are numbers that the caller counts
// up, so a bit for each up to the largest is little: 200 of 1M assets in 1.5 ms. But a saved index
// that somebody made up has whatever keys he likes: beyond so many bits an asset they are sought.
void keep_keys(const std::vector<std::int64_t>& wanted, const Library& library, Bitmap& assets) {
  constexpr std::size_t kMostBitsAnAsset = 64;
  constexpr std::size_t kAlwaysBits = 1 << 20;
  std::int64_t largest = 0;
  for (const std::int64_t key : library.keys) largest = std::max(largest, key);
  const auto keep = [&](const auto& is_wanted) {
    for (std::size_t asset = 0; asset < library.assets(); ++asset) {
      if (!is_wanted(library.keys[asset])) clear(assets, asset);
    }
  };
  if (static_cast<std::size_t>(largest) >= kAlwaysBits + kMostBitsAnAsset * library.assets()) {
    std::vector<std::int64_t> sorted = wanted;
    std::sort(sorted.begin(), sorted.end());
    keep([&](std::int64_t key) {
      return key >= 0 && std::binary_search(sorted.begin(), sorted.end(), key);
    });
    return;
  }
  Bitmap bits(words_for(static_cast<std::size_t>(largest) + 1));
  for (const std::int64_t key : wanted) {
    if (key >= 0 && key <= largest) set(bits, static_cast<std::size_t>(key));
  }
  keep([&](std::int64_t key) { return key >= 0 && test(bits, static_cast<std::size_t>(key)); });
}

// Makes `block` the last one of an ascending list. A gap of up to `gap` blocks is filled.
void add_block(std::vector<BlockRows>& blocks, std::uint32_t block, std::size_t gap) {
  if (!blocks.empty()) {
    if (blocks.back().block == block) return;
    if (block - blocks.back().block <= gap + 1) {
      while (blocks.back().block + 1 < block) blocks.push_back({blocks.back().block + 1, 0});
    }
  }
  blocks.push_back({block, 0});
}

}  // namespace

Bitmap select_assets(const Library& library, const Filter& filter) {
  Bitmap assets = library.live;
  apply(filter, library.columns, assets);
  if (filter.keys) keep_keys(*filter.keys, library, assets);
  return assets;
}

RowSet select_rows(const Library& library, const Filter& filter) {
  const Bitmap assets = select_assets(library, filter);
  const std::size_t gap = kJumpBytes / library.plane.block_bytes();
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
      add_block(set.blocks, block, gap);
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
