// The exact, filtered face index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "facegrep/filter.hpp"
#include "facegrep/search_result.hpp"

namespace facegrep {

/// What one call of add() brings. Row r of the embeddings (or codes) is a face of media_ids[r].
/// The views must live until the call returns.
struct IncomingFaces {
  std::vector<std::string_view> media_ids;  // UTF-8; not empty, no control characters
  const float* embeddings = nullptr;        // (n, dim), or null when codes are given
  const std::int8_t* codes = nullptr;       // (n, dim), or null when embeddings are given

  /// A column is empty (no row has the field) or has n entries.
  std::vector<std::optional<std::int64_t>> ints[kIntFields];
  std::vector<std::optional<std::string_view>> texts[kTextFields];
  /// A number of the caller's for each row's asset, given back in results; empty: all 0.
  std::vector<std::int64_t> keys;
};

struct SearchOptions {
  std::optional<double> threshold;  // -1..1; without it: the best offset + limit assets
  std::size_t limit = 10;
  std::size_t offset = 0;
  Filter filter;
  std::size_t threads = 0;  // 0: as many as pay off, at most one a core
  /// Asked about twenty times a second, by the thread that called search(), which throws
  /// Interrupted when it returns true. May be empty.
  std::function<bool()> interrupted;
};

/// int8 codes of faces, grouped by media asset, with fields to filter by. In memory.
///
/// Exact    every search equals the float64 scan of all codes: same assets, scores, order, Total.
/// Order    score descending, then media id ascending, bytewise.
/// Threads  many readers or one writer, enforced inside; a waiting writer is not starved. search()
///          may use the process's workers (src/threads/pool.hpp).
/// Memory   about 1.5 * dim + 13 bytes a face and 70 bytes an asset, beside the ids.
/// Throws   InvalidArgument, AlreadyExists, MediaNotFound, std::bad_alloc; nothing is changed then.
class FaceIndex {
 public:
  explicit FaceIndex(std::size_t dim);
  ~FaceIndex();
  FaceIndex(const FaceIndex&) = delete;
  FaceIndex& operator=(const FaceIndex&) = delete;

  /// Adds all rows or none. Rows of one asset come in any order but agree in fields and key. A live
  /// asset that comes again with the same codes and fields is left as it is, with others it is an
  /// error. Returns the number of faces added.
  std::size_t add(const IncomingFaces& incoming);

  /// Removes assets, and overwrites their codes with zeros. Unknown ids count for nothing. Returns
  /// the number of assets gone.
  std::size_t remove(const std::vector<std::string_view>& media_ids);

  /// The same by key: a pass over all assets, 1 ms a million.
  std::size_t remove_keys(std::vector<std::int64_t> keys);

  /// The codes of the given assets, (m, dim): assets as listed, faces in the order of adding.
  std::vector<std::int8_t> codes(const std::vector<std::string_view>& media_ids) const;

  /// How many faces each of the given assets has.
  std::vector<std::int64_t> face_counts(const std::vector<std::string_view>& media_ids) const;

  /// One result per query; queries (count, dim) contiguous, finite and not all zero.
  std::vector<std::shared_ptr<SearchResult>> search(const float* queries, std::size_t count,
                                                    const SearchOptions& options) const;

  /// Of the live assets that pass a filter, as given to add(), in the order of adding.
  std::vector<std::int64_t> keys(const Filter& filter) const;

  /// Writes the index to an empty file, and `notes`, bytes of the caller's. Searches run on. The
  /// file is not synced. Throws std::system_error as well.
  void save(int descriptor, std::string_view notes) const;

  /// An index from a file that save() wrote on a machine and by a build like these. All but the
  /// codes is read and checked at once; codes come, and are checked, when they are first needed.
  /// So the index keeps a descriptor of its own, and any call that reads codes may throw
  /// SnapshotDamaged: the file was damaged, overwritten or cut short. No answer is ever made from
  /// such bytes, and no call fails otherwise for them. Throws SnapshotDamaged, std::bad_alloc,
  /// std::system_error.
  static std::unique_ptr<FaceIndex> load(int descriptor, std::string& notes);

  /// Brings all codes that are still in the file; for a caller who is about to overwrite it.
  void bring_codes() const;

  std::size_t dim() const noexcept;
  std::size_t face_count() const;   // live
  std::size_t media_count() const;  // live
  /// Bytes of vectors, rows, columns and their reserve; without ids and dictionaries.
  std::size_t nbytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace facegrep
