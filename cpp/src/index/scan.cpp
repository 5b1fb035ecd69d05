#include "index/scan.hpp"

#include <algorithm>
#include <cmath>

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
};

class Worker {
 public:
  Worker(const Library& library, const std::vector<Query>& queries, Collector* collectors,
         StopSignal& stop)
      : library_(library), kernels_(*active_tier().score), stop_(stop) {
    lanes_.reserve(queries.size());
    for (std::size_t q = 0; q < queries.size(); ++q) {
      lanes_.push_back({queries[q], prepare_plane_query(queries[q]), collectors[q]});
    }
  }

  void scan_plane(const RowSet& set, std::size_t first_row, std::size_t end_row);
  void gather(const RowSet& set, std::size_t first_asset, std::size_t end_asset);
  void finish() {
    for (Lane& lane : lanes_) lane.collector.finish();
  }

 private:
  void scan_tile(Lane* lanes, std::size_t queries, std::size_t first, std::size_t blocks,
                 const std::uint16_t* allowed);
  void offer(Lane& lane);

  const Library& library_;
  const ScoreKernels& kernels_;
  StopSignal& stop_;
  std::vector<Lane> lanes_;
  std::vector<BlockHit> hits_;
  std::vector<std::uint32_t> rows_;
  std::vector<std::int32_t> dots_;
};

void Worker::offer(Lane& lane) {
  if (rows_.empty()) return;
  dots_.resize(rows_.size());
  kernels_.dot_rows(lane.query.code.data(), library_.codes.data(), rows_.data(), rows_.size(),
                    library_.dim, dots_.data());
  lane.collector.offer(rows_.data(), rows_.size(), dots_.data());
  lane.collector.counts.rows_dotted += rows_.size();
  lane.collector.counts.bytes_touched += rows_.size() * library_.dim;
}

void Worker::scan_tile(Lane* lanes, std::size_t queries, std::size_t first, std::size_t blocks,
                       const std::uint16_t* allowed) {
  stop_.check();
  const Plane& plane = library_.plane;
  PlaneScan scans[kPlaneQueries];
  std::size_t counts[kPlaneQueries];
  for (std::size_t q = 0; q < queries; ++q) {
    lanes[q].plane.set_cut(lanes[q].collector.cut());
    scans[q] = plane_scan(plane, lanes[q].plane);
  }
  hits_.resize(std::max(hits_.size(), kPlaneQueries * blocks));
  kernels_.scan_plane[queries - 1](scans, plane.block(first), plane.bounds() + first, blocks,
                                   hits_.data(), counts);
  for (std::size_t q = 0; q < queries; ++q) {
    ScanCounts& total = lanes[q].collector.counts;
    total.rows_scanned += blocks * kBlockRows;
    total.blocks_scanned += blocks;
    total.blocks_settled += blocks - counts[q];
    total.bytes_touched += blocks * (plane.block_bytes() + sizeof(BlockBound)) +
                           counts[q] * kBlockRows * sizeof(RowBound);
    rows_.clear();
    for (std::size_t h = 0; h < counts[q]; ++h) {
      const BlockHit& hit = hits_[q * blocks + h];
      for (unsigned mask = hit.lanes & allowed[hit.block]; mask != 0; mask &= mask - 1) {
        const auto lane = static_cast<unsigned>(__builtin_ctz(mask));
        const std::size_t row = (first + hit.block) * kBlockRows + lane;
        if (reaches(scans[q], hit.e[lane], plane.row(row))) {
          rows_.push_back(static_cast<std::uint32_t>(row));
        }
      }
    }
    offer(lanes[q]);
  }
}

void Worker::scan_plane(const RowSet& set, std::size_t first_row, std::size_t end_row) {
  if (first_row >= end_row) return;
  const std::size_t first = first_row / kBlockRows;
  const std::size_t end = (end_row - 1) / kBlockRows + 1;
  // The blocks at both ends may belong to two threads: each takes its own rows.
  std::vector<std::uint16_t> allowed(set.lanes.begin() + static_cast<std::ptrdiff_t>(first),
                                     set.lanes.begin() + static_cast<std::ptrdiff_t>(end));
  allowed.front() &= static_cast<std::uint16_t>(0xFFFFU << (first_row % kBlockRows));
  allowed.back() &= static_cast<std::uint16_t>(0xFFFFU >> (end * kBlockRows - end_row));
  const std::size_t largest = std::max(kFirstTileBlocks, kTileBytes / library_.plane.block_bytes());
  std::size_t tile = kFirstTileBlocks;
  for (std::size_t b = 0; b < allowed.size();) {
    if (allowed[b] == 0) {
      ++b;
      continue;
    }
    std::size_t stop = b + 1;
    while (stop < allowed.size() && stop - b < tile && allowed[stop] != 0) ++stop;
    for (std::size_t q = 0; q < lanes_.size(); q += kPlaneQueries) {
      scan_tile(lanes_.data() + q, std::min<std::size_t>(kPlaneQueries, lanes_.size() - q),
                first + b, stop - b, allowed.data() + b);
    }
    b = stop;
    tile = std::min(largest, tile * 2);
  }
}

void Worker::gather(const RowSet& set, std::size_t first_asset, std::size_t end_asset) {
  std::vector<std::uint32_t> waiting;
  const auto flush = [&] {
    for (Lane& lane : lanes_) {
      stop_.check();
      rows_ = waiting;
      offer(lane);
      lane.collector.counts.rows_scanned += waiting.size();
    }
    waiting.clear();
  };
  for_each_run(set.assets, first_asset, end_asset, [&](std::size_t first, std::size_t last) {
    for (std::size_t row = library_.first_row[first]; row < library_.first_row[last]; ++row) {
      waiting.push_back(static_cast<std::uint32_t>(row));
      if (waiting.size() == kGatherRows) flush();
    }
  });
  flush();
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
    if (rows.strategy == Strategy::kGather) {
      worker.gather(rows, first, end);
    } else {
      worker.scan_plane(rows, library.first_row[first], library.first_row[end]);
    }
    worker.finish();
  });
}

}  // namespace facegrep::detail
