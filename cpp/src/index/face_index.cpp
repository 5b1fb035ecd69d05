#include "facegrep/face_index.hpp"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "cpu/cpu.hpp"
#include "facegrep/cpu.hpp"
#include "facegrep/error.hpp"
#include "facegrep/quantize.hpp"
#include "index/incoming.hpp"
#include "index/library.hpp"
#include "index/row_set.hpp"
#include "index/scan.hpp"
#include "snapshot/snapshot.hpp"

namespace facegrep {
namespace {

// A second thread pays off when each has this much of the plane to read: 4 MiB is about 0.2 ms of
// memory traffic, several times what waking a worker and waiting for it costs.
constexpr std::size_t kBytesPerThread = std::size_t{4} << 20;

// Dead rows are cleared away when they outnumber the live ones: each add pays for one copy at most.
constexpr std::size_t kDeadRowsKept = 4096;

std::size_t choose_threads(std::size_t asked, std::size_t bytes) {
  if (asked != 0) return asked;
  return std::clamp<std::size_t>(bytes / kBytesPerThread, 1, detail::cores_available());
}

}  // namespace

// std::shared_mutex lets readers pass a waiting writer for ever; the turnstile makes new readers
// queue behind it.
struct FaceIndex::State {
  explicit State(std::size_t dim) : library(dim) {}

  std::shared_lock<std::shared_mutex> read() {
    const std::lock_guard<std::mutex> turn(turnstile);
    return std::shared_lock<std::shared_mutex>(access);
  }
  std::unique_lock<std::shared_mutex> write() {
    const std::lock_guard<std::mutex> turn(turnstile);
    return std::unique_lock<std::shared_mutex>(access);
  }

  // Under the writer's lock.
  void clear_away() {
    const std::size_t dead = library.rows() - library.live_rows;
    if (dead <= kDeadRowsKept || dead <= library.live_rows) return;
    try {
      library = library.compacted();
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
      // Compaction only saves memory: without enough of it, the dead rows stay for another time.
    } catch (const SnapshotDamaged&) {  // NOLINT(bugprone-empty-catch)
      // Whoever looks at the damaged rows is told.
    }
  }

  detail::Library library;
  detail::RowSetCache row_sets;
  std::mutex turnstile;
  std::shared_mutex access;
};

FaceIndex::FaceIndex(std::size_t dim) : state_(std::make_unique<State>(dim)) {
  if (dim < 1 || dim > kMaxDim) {
    throw InvalidArgument("dim: expected 1 to " + std::to_string(kMaxDim) + ", got " +
                          std::to_string(dim));
  }
}

FaceIndex::~FaceIndex() = default;

std::size_t FaceIndex::add(const IncomingFaces& incoming) {
  const auto lock = state_->write();
  const std::size_t added = detail::add(incoming, state_->library);
  if (added > 0) state_->row_sets.clear();
  return added;
}

std::size_t FaceIndex::remove(const std::vector<std::string_view>& media_ids) {
  const auto lock = state_->write();
  detail::Library& library = state_->library;
  std::size_t removed = 0;
  for (const std::string_view id : media_ids) {
    const std::uint32_t asset = library.asset_by_id.find(id, library.ids);
    if (asset == detail::IdTable::kNone) continue;
    if (removed == 0) state_->row_sets.clear();
    library.remove(asset);
    ++removed;
  }
  state_->clear_away();
  return removed;
}

std::size_t FaceIndex::remove_keys(std::vector<std::int64_t> keys) {
  if (keys.empty()) return 0;
  std::sort(keys.begin(), keys.end());
  const auto lock = state_->write();
  detail::Library& library = state_->library;
  std::vector<std::uint32_t> found;
  for (std::size_t asset = 0; asset < library.assets(); ++asset) {
    const std::int64_t key = library.keys[asset];
    if (key < keys.front() || key > keys.back() || !detail::test(library.live, asset)) continue;
    if (!std::binary_search(keys.begin(), keys.end(), key)) continue;
    found.push_back(static_cast<std::uint32_t>(asset));
  }
  if (!found.empty()) state_->row_sets.clear();
  for (const std::uint32_t asset : found) library.remove(asset);
  state_->clear_away();
  return found.size();
}

void FaceIndex::save(int descriptor, std::string_view notes) const {
  const auto lock = state_->read();
  detail::save(state_->library, descriptor, notes);
}

void FaceIndex::bring_codes() const {
  const auto lock = state_->read();
  state_->library.bring(0, state_->library.rows());
}

std::unique_ptr<FaceIndex> FaceIndex::load(int descriptor, std::string& notes) {
  detail::Library library = detail::load(descriptor, notes);
  auto index = std::make_unique<FaceIndex>(library.dim);
  index->state_->library = std::move(library);
  return index;
}

std::vector<std::int8_t> FaceIndex::codes(const std::vector<std::string_view>& media_ids) const {
  const auto lock = state_->read();
  const detail::Library& library = state_->library;
  std::vector<std::int8_t> out;
  for (const std::string_view id : media_ids) {
    const std::uint32_t asset = library.asset_by_id.find(id, library.ids);
    if (asset == detail::IdTable::kNone) throw MediaNotFound(std::string(id));
    const std::size_t first = library.first_row[asset];
    const std::size_t last = library.first_row[asset + 1];
    library.bring(first, last);
    out.insert(out.end(), library.code(first), library.code(first) + (last - first) * library.dim);
  }
  return out;
}

std::vector<std::int64_t> FaceIndex::face_counts(
    const std::vector<std::string_view>& media_ids) const {
  const auto lock = state_->read();
  const detail::Library& library = state_->library;
  std::vector<std::int64_t> out;
  out.reserve(media_ids.size());
  for (const std::string_view id : media_ids) {
    const std::uint32_t asset = library.asset_by_id.find(id, library.ids);
    if (asset == detail::IdTable::kNone) throw MediaNotFound(std::string(id));
    out.push_back(static_cast<std::int64_t>(library.rows_of(asset)));
  }
  return out;
}

std::vector<std::shared_ptr<SearchResult>> FaceIndex::search(const float* queries,
                                                             std::size_t count,
                                                             const SearchOptions& options) const {
  if (options.threshold && !(*options.threshold >= -1.0 && *options.threshold <= 1.0)) {
    throw InvalidArgument("threshold: expected a cosine from -1 to 1, got " +
                          std::to_string(*options.threshold));
  }
  std::vector<detail::Query> prepared;
  prepared.reserve(count);
  for (std::size_t q = 0; q < count; ++q) {
    prepared.push_back(detail::prepare_query(queries + q * dim(), dim(), q));
  }

  detail::StopSignal stop(options.interrupted);
  const auto lock = state_->read();
  const detail::Library& library = state_->library;
  const auto row_set = state_->row_sets.get(library, options.filter);
  const detail::RowSet& rows = *row_set;
  const std::size_t reach =
      options.limit > SIZE_MAX - options.offset ? SIZE_MAX : options.offset + options.limit;
  const std::size_t keep = options.threshold ? 0 : std::min(reach, rows.assets_count);

  const std::size_t threads = choose_threads(
      options.threads, rows.rows_count * library.dim / 2 * std::max<std::size_t>(1, count));
  std::vector<detail::Collector> collectors;
  collectors.reserve(threads * count);
  for (std::size_t i = 0; i < threads * count; ++i) {
    collectors.emplace_back(library, prepared[i % count], options.threshold, keep);
  }
  if (options.threshold || keep > 0) scan(library, prepared, rows, threads, collectors, stop);

  std::vector<std::shared_ptr<SearchResult>> results;
  results.reserve(count);
  for (std::size_t q = 0; q < count; ++q) {
    const auto result = std::make_shared<SearchResult>();
    std::vector<detail::Match> matches = std::move(collectors[q].matches());
    detail::ScanCounts counts = collectors[q].counts;
    for (std::size_t t = 1; t < threads; ++t) {
      detail::Collector& other = collectors[t * count + q];
      matches.insert(matches.end(), other.matches().begin(), other.matches().end());
      counts += other.counts;
    }
    std::sort(matches.begin(), matches.end(), [&](const detail::Match& a, const detail::Match& b) {
      return better(library, a, b);
    });
    if (!options.threshold && matches.size() > keep) matches.resize(keep);
    result->total = options.threshold ? matches.size() : rows.assets_count;
    result->threshold = options.threshold;
    result->limit = options.limit;
    result->offset = options.offset;
    result->plan = {rows.strategy == detail::Strategy::kPlane ? "plane" : "gather",
                    active_isa(),
                    threads,
                    library.live_rows,
                    rows.rows_count,
                    counts.rows_scanned,
                    counts.blocks_scanned,
                    counts.blocks_settled,
                    counts.rows_dotted,
                    counts.rows_scored,
                    counts.bytes_touched};
    std::size_t id_bytes = 0;
    for (const detail::Match& match : matches) id_bytes += library.ids[match.asset].size();
    result->reserve(matches.size(), id_bytes);
    for (const detail::Match& match : matches) {
      const auto face = static_cast<std::uint32_t>(match.row - library.first_row[match.asset]);
      result->append(library.ids[match.asset], match.score, library.keys[match.asset], face);
    }
    results.push_back(result);
  }
  return results;
}

std::vector<std::int64_t> FaceIndex::keys(const Filter& filter) const {
  const auto lock = state_->read();
  const detail::Library& library = state_->library;
  const detail::Bitmap assets = detail::select_assets(library, filter);
  std::vector<std::int64_t> out;
  out.reserve(detail::popcount(assets));
  detail::for_each_run(assets, 0, library.assets(), [&](std::size_t first, std::size_t last) {
    out.insert(out.end(), library.keys.begin() + first, library.keys.begin() + last);
  });
  return out;
}

std::size_t FaceIndex::dim() const noexcept { return state_->library.dim; }

std::size_t FaceIndex::face_count() const {
  const auto lock = state_->read();
  return state_->library.live_rows;
}

std::size_t FaceIndex::media_count() const {
  const auto lock = state_->read();
  return state_->library.asset_by_id.size();
}

std::size_t FaceIndex::nbytes() const {
  const auto lock = state_->read();
  return state_->library.nbytes();
}

}  // namespace facegrep
