// The rows that a filter leaves, and the memory of the filters used last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "facegrep/filter.hpp"
#include "filter/bitmap.hpp"
#include "index/library.hpp"

namespace facegrep::detail {

enum class Strategy : std::uint8_t {
  kPlane,   // every block that has a row of the filter
  kGather,  // the filter's rows alone, from the row-major codes
};

/// The rows that a search may look at. Never changed once made.
struct RowSet {
  Bitmap assets;
  std::size_t assets_count;
  std::size_t rows_count;
  std::vector<std::uint16_t> lanes;  // (blocks), for Strategy::kPlane: the rows of `assets`
  Strategy strategy;
};

/// Live assets that pass the filter, and the cheaper way to their rows.
RowSet select_rows(const Library& library, const Filter& filter);

/// The row sets of the filters used last, for one state of a library: a writer clears it.
/// Threads  reentrant.
class RowSetCache {
 public:
  std::shared_ptr<const RowSet> get(const Library& library, const Filter& filter);
  void clear();

 private:
  static constexpr std::size_t kLargest = 16;

  struct Entry {
    std::string key;
    std::shared_ptr<const RowSet> rows;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;  // the one used last comes first
};

}  // namespace facegrep::detail
