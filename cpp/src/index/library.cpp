#include "index/library.hpp"

#include <algorithm>

#include "score/exact.hpp"

namespace facegrep::detail {

// Filling in what is there already, for whoever looks: so it is const.
void Library::bring(std::size_t first, std::size_t last) const {
  if (!is_late()) return;
  const auto arrived = [this](std::size_t from, std::size_t to, std::byte* bytes) {
    for (std::size_t row = from / dim; row * dim < to; ++row) {
      if (test(live, asset_of[row])) continue;
      const std::size_t begin = std::max(from, row * dim);  // removed since it was saved
      const std::size_t end = std::min(to, (row + 1) * dim);
      std::fill(bytes + (begin - from), bytes + (end - from), std::byte{0});
    }
  };
  auto* const array = const_cast<std::int8_t*>(codes.data());
  late->bring(first * dim, last * dim, reinterpret_cast<std::byte*>(array), arrived);
}

void Library::bring_rows(const std::uint32_t* rows, std::size_t count) const {
  if (!is_late()) return;
  for (std::size_t i = 0; i < count; ++i) bring(rows[i], rows[i] + std::size_t{1});
}

void Library::remove(std::uint32_t asset) noexcept {
  asset_by_id.erase(ids[asset], asset, ids);
  wipe(ids[asset]);
  ids[asset] = {};
  columns.wipe(asset);
  clear(live, asset);
  std::fill_n(codes.data() + first_row[asset] * dim, rows_of(asset) * dim, std::int8_t{0});
  for (std::size_t row = first_row[asset]; row < first_row[asset + 1]; ++row) plane.wipe(row);
  live_rows -= rows_of(asset);
}

Library Library::compacted() const {
  bring(0, rows());
  Library out(dim);
  const std::size_t assets_left = popcount(live);
  out.codes.reserve(live_rows * dim);
  out.plane.reserve(live_rows);
  out.asset_of.reserve(live_rows);
  out.first_row.reserve(assets_left + 1);
  out.ids.reserve(assets_left);
  out.keys.reserve(assets_left);
  out.live.resize(words_for(assets_left));
  out.live_rows = live_rows;
  for_each_run(live, 0, assets(), [&](std::size_t first, std::size_t last) {
    out.codes.append(code(first_row[first]), (first_row[last] - first_row[first]) * dim);
    for (std::size_t row = first_row[first]; row < first_row[last]; ++row) {
      out.plane.append(code(row), norm_of(code(row), dim));
    }
    for (std::size_t asset = first; asset < last; ++asset) {
      const auto ordinal = static_cast<std::uint32_t>(out.ids.size());
      out.asset_of.append(rows_of(asset), ordinal);
      out.first_row.push_back(out.first_row.back() + rows_of(asset));
      out.ids.push_back(out.arena.store(ids[asset]));
      out.keys.push_back(keys[asset]);
      set(out.live, ordinal);
      out.columns.append(out.columns.encode(columns.at(asset)));
      out.asset_by_id.find_or_add(out.ids.back(), ordinal, out.ids);
    }
  });
  return out;
}

std::size_t Library::nbytes() const noexcept {
  return codes.capacity_bytes() + plane.nbytes() + asset_of.capacity_bytes() +
         first_row.capacity_bytes() + keys.capacity_bytes() +
         live.capacity() * sizeof(std::uint64_t) + columns.nbytes();
}

}  // namespace facegrep::detail
