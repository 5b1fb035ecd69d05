// The scan: rows are ruled out by the plane first, by their int8 dot next; the few left are scored
// exactly and grouped by asset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/collector.hpp"
#include "index/library.hpp"
#include "index/row_set.hpp"
#include "index/stop_signal.hpp"
#include "score/query.hpp"

namespace facegrep::detail {

/// Runs all queries over `rows`. collectors holds `threads` groups of queries.size() collectors;
/// thread t fills group t. Throws what stop.check() does.
void scan(const Library& library, const std::vector<Query>& queries, const RowSet& rows,
          std::size_t threads, std::vector<Collector>& collectors, StopSignal& stop);

}  // namespace facegrep::detail
