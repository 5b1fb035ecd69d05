#include "index/scan.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/tiers.hpp"
#include "score/plane.hpp"
#include "threads/pool.hpp"

namespace facegrep::detail {
namespace {

// A tile of the plane that stays in the second-level cache while all queries pass over it.
constexpr std::size_t kTileBytes = std::size_t{128} << 10;
// The first tile is small, and each is twice the one before, so that a search without a threshold
// has a cut worth having before it reads much.
constexpr std::size_t kFirstTileBlocks = 4;
constexpr std::size_t kGatherRows = 1024;

// One query's part of one thread's work.
struct Lane {
  const Query& query;
  PlaneQuery plane;
  Collector& collector;
  std::vector<std::uint32_t> waiting;  // rows that the plane did not rule out, on their way here
};

// Rows left of a tile are few and far apart: each is asked for, and looked at a tile later. (1M x
// 128-d, one query, 0.4 % of the rows left: 4.1 ms when they were looked at at once, 2.9 ms so.)
void ask_for(const Library& library, std::size_t row) noexcept {
  library.ask_for(row);
  const std::int8_t* const code = library.code(row);
  for (std::size_t at = 0; at < library.dim; at += 64) __builtin_prefetch(code + at);
  __builtin_prefetch(code + library.dim - 1);
}

bool are_zero(const std::uint16_t* four) noexcept {
  std::uint64_t bits;
  std::memcpy(&bits, four, sizeof bits);
  return bits == 0;
}

class Worker {
 public:
  Worker(const Library& library, const std::vector<Query>& queries, Collector* collectors,
         StopSignal& stop)
      : library_(library), kernels_(*active_tier().score), stop_(stop) {
    lanes_.reserve(queries.size());
    for (std::size_t q = 0; q < queries.size(); ++q) {
      lanes_.push_back({queries[q], PlaneQuery(queries[q]), collectors[q], {}});
    }
    for (std::size_t q = 0; q < queries.size(); q += kPlaneQueries) {
      codes_.push_back(
          side_by_side(&queries[q], std::min<std::size_t>(kPlaneQueries, queries.size() - q)));
    }
  }

  void scan_plane(const std::vector<BlockRows>& blocks, std::size_t first_row, std::size_t end_row);
  void gather(const std::vector<std::uint32_t>& rows, std::size_t first_row, std::size_t end_row);
  void finish() {
    for (Lane& lane : lanes_) {
      offer(lane, lane.waiting.data(), lane.waiting.size());
      lane.collector.finish();
    }
  }

 private:
  void scan_tile(std::size_t first_lane, const BlockRows* blocks, std::size_t count);
  void offer(Lane& lane, const std::uint32_t* rows, std::size_t count);

  const Library& library_;
  const ScoreKernels& kernels_;
  StopSignal& stop_;
  std::vector<Lane> lanes_;
  std::vector<std::vector<std::int8_t>> codes_;  // of each kPlaneQueries lanes, for the plane
  std::vector<std::uint16_t> left_;
  std::vector<std::int32_t> dots_;
};

void Worker::offer(Lane& lane, const std::uint32_t* rows, std::size_t count) {
  if (count == 0) return;
  library_.bring_rows(rows, count);
  dots_.resize(std::max(dots_.size(), count));
  kernels_.dot_rows(lane.query.code.data(), library_.codes.data(), rows, count, library_.dim,
                    dots_.data());
  lane.collector.offer(rows, count, dots_.data());
  lane.collector.counts.rows_dotted += count;
  lane.collector.counts.bytes_touched += count * library_.dim;
}

void Worker::scan_tile(std::size_t first_lane, const BlockRows* blocks, std::size_t count) {
  stop_.check();
  const Plane& plane = library_.plane;
  Lane* const lanes = &lanes_[first_lane];
  const std::size_t queries = std::min<std::size_t>(kPlaneQueries, lanes_.size() - first_lane);
  PlaneCut cuts[kPlaneQueries];
  for (std::size_t q = 0; q < queries; ++q) {
    lanes[q].plane.set_cut(lanes[q].collector.cut());
    cuts[q] = lanes[q].plane.cut;
  }
  left_.resize(std::max(left_.size(), kPlaneQueries * count));
  const PlaneScan scan{codes_[first_lane / kPlaneQueries].data(), plane.groups(), cuts};
  kernels_.scan_plane[queries - 1](scan, plane.data(), blocks, count, left_.data());
  for (std::size_t q = 0; q < queries; ++q) {
    ScanCounts& total = lanes[q].collector.counts;
    total.rows_scanned += count * kBlockRows;
    total.blocks_scanned += count;
    total.blocks_settled += count;
    total.bytes_touched += count * (plane.block_bytes() + sizeof(BlockRows));
    std::vector<std::uint32_t>& waiting = lanes[q].waiting;
    offer(lanes[q], waiting.data(), waiting.size());
    waiting.clear();
    const std::uint16_t* const left = left_.data() + q * count;
    for (std::size_t i = 0; i < count; ++i) {
      // Mostly nothing is left of four blocks, which is seen at once.
      if (i + 4 <= count && are_zero(left + i)) {
        i += 3;
        continue;
      }
      total.blocks_settled -= left[i] != 0;
      for_each_row({blocks[i].block, left[i]}, [&](std::uint32_t row) {
        ask_for(library_, row);
        plane.ask_for_norm(row);
        waiting.push_back(row);
      });
    }
  }
}

void Worker::scan_plane(const std::vector<BlockRows>& blocks, std::size_t first_row,
                        std::size_t end_row) {
  const auto begins_before = [](const BlockRows& block, std::size_t row) {
    return block.block * kBlockRows < row;
  };
  const std::size_t largest = std::max(kFirstTileBlocks, kTileBytes / library_.plane.block_bytes());
  std::size_t tile = kFirstTileBlocks;
  auto block = std::lower_bound(blocks.begin(), blocks.end(), first_row / kBlockRows * kBlockRows,
                                begins_before);
  const auto end = std::lower_bound(block, blocks.end(), end_row, begins_before);
  std::vector<BlockRows> mine;
  while (block != end) {
    mine.assign(block,
                block + std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(tile), end - block));
    block += static_cast<std::ptrdiff_t>(mine.size());
    // The blocks at both ends may belong to two threads: each takes its own rows.
    if (mine.front().block * kBlockRows < first_row)
      mine.front().rows &= ~0U << first_row % kBlockRows;
    if ((mine.back().block + 1) * kBlockRows > end_row)
      mine.back().rows &= ~(~0U << end_row % kBlockRows);
    for (std::size_t q = 0; q < lanes_.size(); q += kPlaneQueries) {
      scan_tile(q, mine.data(), mine.size());
    }
    tile = std::min(largest, tile * 2);
  }
}

void Worker::gather(const std::vector<std::uint32_t>& rows, std::size_t first_row,
                    std::size_t end_row) {
  auto row = std::lower_bound(rows.begin(), rows.end(), first_row);
  const auto end = std::lower_bound(row, rows.end(), end_row);
  while (row != end) {
    const std::size_t count = std::min(kGatherRows, static_cast<std::size_t>(end - row));
    if (library_.is_late()) {
      std::for_each_n(row, count, [&](std::uint32_t r) { library_.ask_for(r); });
    }
    for (Lane& lane : lanes_) {
      stop_.check();
      offer(lane, &*row, count);
      lane.collector.counts.rows_scanned += count;
    }
    row += static_cast<std::ptrdiff_t>(count);
  }
}

// The asset at which part `part` of `parts` begins: parts have about the same number of rows.
std::size_t part_begin(const Library& library, std::size_t part, std::size_t parts) {
  const std::size_t row = library.rows() / parts * part;
  const auto& starts = library.first_row;
  const auto at = std::lower_bound(starts.begin(), starts.end(), row);
  return part == parts ? library.assets() : static_cast<std::size_t>(at - starts.begin());
}

}  // namespace

void scan(const Library& library, const std::vector<Query>& queries, const RowSet& rows,
          std::size_t threads, std::vector<Collector>& collectors, StopSignal& stop) {
  run_parts(threads, [&](std::size_t part) {
    Worker worker(library, queries, collectors.data() + part * queries.size(), stop);
    const std::size_t first = part_begin(library, part, threads);
    const std::size_t end = part_begin(library, part + 1, threads);
    const std::size_t first_row = library.first_row[first];
    const std::size_t end_row = library.first_row[end];
    if (first_row == end_row) return;
    if (rows.strategy == Strategy::kGather) {
      worker.gather(rows.rows, first_row, end_row);
    } else {
      worker.scan_plane(rows.blocks, first_row, end_row);
    }
    worker.finish();
  });
}

}  // namespace facegrep::detail
