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
#include "index/library.hpp"
#include "score/kernels.hpp"

namespace facegrep::detail {

enum class Strategy : std::uint8_t {
  kPlane,   // every block that has a row of the filter is bounded
  kGather,  // the filter's rows alone, from the row-major codes
};

/// The rows that a search may look at. Never changed once made.
struct RowSet {
  std::size_t assets_count = 0;
  std::size_t rows_count = 0;
  Strategy strategy = Strategy::kPlane;
  std::vector<BlockRows> blocks;    // for kPlane, ascending; a few may have no row of the set
  std::vector<std::uint32_t> rows;  // for kGather, ascending
};

/// Live assets that pass the filter.
Bitmap select_assets(const Library& library, const Filter& filter);

/// Their rows, and the cheaper way to them.
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
