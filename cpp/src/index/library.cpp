#include "index/library.hpp"

#include <algorithm>

#include "score/exact.hpp"

namespace facegrep::detail {

void Library::remove(std::uint32_t asset) noexcept {
  asset_by_id.erase(ids[asset]);
  wipe(ids[asset]);
  ids[asset] = {};
  clear(live, asset);
  std::fill_n(codes.data() + first_row[asset] * dim, rows_of(asset) * dim, std::int8_t{0});
  for (std::size_t row = first_row[asset]; row < first_row[asset + 1]; ++row) plane.wipe(row);
  live_rows -= rows_of(asset);
}

Library Library::compacted() const {
  Library out(dim);
  const std::size_t assets_left = popcount(live);
  out.codes.reserve(live_rows * dim);
  out.plane.reserve(live_rows);
  out.asset_of.reserve(live_rows);
  out.first_row.reserve(assets_left + 1);
  out.ids.reserve(assets_left);
  out.keys.reserve(assets_left);
  out.live.resize(words_for(assets_left));
  out.asset_by_id.reserve(assets_left);
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
      out.asset_by_id.emplace(out.ids.back(), ordinal);
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
