#include "index/scan.hpp"

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>

#include "score/dispatch.hpp"

namespace facegrep::detail {
namespace {

// A tile of rows that stays in the second-level cache while all queries pass over it.
constexpr std::size_t kTileBytes = std::size_t{128} << 10;

// Assets [begin, end) of the bitmap, all queries, tile by tile.
std::size_t scan_assets(const Library& library, const std::vector<Query>& queries,
                        const Bitmap& assets, std::size_t begin, std::size_t end,
                        Collector* collectors) {
  const ScoreKernels& kernels = score_kernels();
  const std::size_t tile_rows = std::max<std::size_t>(16, kTileBytes / library.dim);
  std::vector<std::int32_t> dots(tile_rows);
  std::size_t rows_scanned = 0;
  for_each_run(assets, begin, end, [&](std::size_t first_asset, std::size_t last_asset) {
    const std::size_t last_row = library.first_row[last_asset];
    for (std::size_t row = library.first_row[first_asset]; row < last_row; row += tile_rows) {
      const std::size_t count = std::min(tile_rows, last_row - row);
      for (std::size_t q = 0; q < queries.size(); ++q) {
        kernels.dot_rows(queries[q].code.data(), library.code(row), count, library.dim,
                         dots.data());
        collectors[q].offer(row, count, dots.data());
      }
      rows_scanned += count;
    }
  });
  for (std::size_t q = 0; q < queries.size(); ++q) collectors[q].finish();
  return rows_scanned;
}

// The asset at which part `part` of `parts` begins: parts have about the same number of rows.
std::size_t part_begin(const Library& library, std::size_t part, std::size_t parts) {
  const std::size_t row = library.rows() / parts * part;
  const auto& starts = library.first_row;
  const auto at = std::lower_bound(starts.begin(), starts.end(), row);
  return part == parts ? library.assets() : static_cast<std::size_t>(at - starts.begin());
}

}  // namespace

ScanCounts scan(const Library& library, const std::vector<Query>& queries, const Bitmap& assets,
                std::size_t threads, std::vector<Collector>& collectors) {
  std::vector<std::size_t> rows_scanned(threads);
  std::vector<std::exception_ptr> failures(threads);
  const auto work = [&](std::size_t part) noexcept {
    try {
      rows_scanned[part] = scan_assets(library, queries, assets, part_begin(library, part, threads),
                                       part_begin(library, part + 1, threads),
                                       collectors.data() + part * queries.size());
    } catch (...) {
      failures[part] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  for (std::size_t part = 1; part < threads; ++part) {
    try {
      others.emplace_back(work, part);
    } catch (const std::system_error&) {  // no thread to be had: do its part here
      work(part);
    }
  }
  work(0);
  for (std::thread& other : others) other.join();
  ScanCounts counts{threads, 0};
  for (std::size_t part = 0; part < threads; ++part) {
    if (failures[part]) std::rethrow_exception(failures[part]);
    counts.rows_scanned += rows_scanned[part];
  }
  return counts;
}

}  // namespace facegrep::detail
