// Which asset has an id, or which code a string of a column: open addressing with linear probing, 8
// bytes an entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string_view>
#include <utility>

#include "memory/growing_array.hpp"

namespace facegrep::detail {

/// The ids themselves lie elsewhere: every call is given them, by asset. An entry keeps 32 bits of
/// its id's hash, so that a look-up compares few ids and growing compares none. (1M faces of
/// 500,000 assets as Python lists: 1.5 M/s added with std::unordered_map, whose nodes are 56 bytes
/// each.)
class IdTable {
 public:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  std::size_t size() const noexcept { return size_; }
  std::size_t nbytes() const noexcept { return entries_.capacity_bytes(); }

  /// The asset of this id, or kNone.
  template <typename Ids>
  std::uint32_t find(std::string_view id, const Ids& ids) const noexcept {
    if (size_ == 0) return kNone;
    return entries_[place_of(hash_of(id), id, ids)].asset;
  }

  /// The asset of this id; adds the entry if there is none. Throws bad_alloc.
  template <typename Ids>
  std::uint32_t find_or_add(std::string_view id, std::uint32_t asset, const Ids& ids) {
    if ((size_ + 1) * 10 > entries_.size() * kMostFullOf10) {
      grow(entries_.empty() ? kSmallest : entries_.size() * 2);
    }
    const std::uint32_t hash = hash_of(id);
    Entry& entry = entries_[place_of(hash, id, ids)];
    if (entry.asset == kNone) {
      entry = {hash, asset};
      ++size_;
    }
    return entry.asset;
  }

  /// Removes the entry of this id, if it has one and that is this asset. Later entries of its run
  /// move up, so that no mark is left behind.
  template <typename Ids>
  void erase(std::string_view id, std::uint32_t asset, const Ids& ids) noexcept {
    if (size_ == 0) return;
    std::size_t hole = place_of(hash_of(id), id, ids);
    if (asset == kNone || entries_[hole].asset != asset) return;
    const std::size_t mask = entries_.size() - 1;
    for (std::size_t i = (hole + 1) & mask; entries_[i].asset != kNone; i = (i + 1) & mask) {
      const std::size_t home = entries_[i].hash & mask;
      if (((i - home) & mask) >= ((i - hole) & mask)) {
        entries_[hole] = entries_[i];
        hole = i;
      }
    }
    entries_[hole] = {0, kNone};
    --size_;
  }

  struct Entry {
    std::uint32_t hash;
    std::uint32_t asset;  // kNone: free
  };
  const GrowingArray<Entry>& entries() const noexcept { return entries_; }

  /// Takes over entries() of another table, unless it could not work with them: it needs a power of
  /// two of entries and free ones among them.
  bool adopt(GrowingArray<Entry> entries) noexcept {
    const std::size_t capacity = entries.size();
    std::size_t size = 0;
    for (const Entry& entry : entries) size += entry.asset != kNone;
    if ((capacity & (capacity - 1)) != 0 || size * 10 > capacity * kMostFullOf10) return false;
    entries_ = std::move(entries);
    size_ = size;
    return true;
  }

  /// The same for the same bytes only as long as the standard library is the same.
  static std::uint32_t hash_of(std::string_view id) noexcept {
    const std::size_t hash = std::hash<std::string_view>()(id);
    return static_cast<std::uint32_t>(hash ^ hash >> 32);
  }

 private:
  static constexpr std::size_t kSmallest = 16;
  static constexpr std::size_t kMostFullOf10 = 7;

  // Where the id's entry is, or would be.
  template <typename Ids>
  std::size_t place_of(std::uint32_t hash, std::string_view id, const Ids& ids) const noexcept {
    const std::size_t mask = entries_.size() - 1;
    std::size_t i = hash & mask;
    while (entries_[i].asset != kNone &&
           !(entries_[i].hash == hash && ids[entries_[i].asset] == id)) {
      i = (i + 1) & mask;
    }
    return i;
  }

  void grow(std::size_t capacity) {
    GrowingArray<Entry> entries;
    entries.append(capacity, {0, kNone});
    for (const Entry& entry : entries_) {
      if (entry.asset == kNone) continue;
      std::size_t i = entry.hash & (capacity - 1);
      while (entries[i].asset != kNone) i = (i + 1) & (capacity - 1);
      entries[i] = entry;
    }
    entries_ = std::move(entries);
  }

  std::size_t size_ = 0;
  GrowingArray<Entry> entries_;  // a power of two of them
};

}  // namespace facegrep::detail
