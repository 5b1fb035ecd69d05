// The table of ids against std::unordered_map, over random calls.

#include "memory/id_table.hpp"

#include <string>
#include <unordered_map>
#include <vector>

#include "check.hpp"

namespace facegrep::tests {
namespace {

using detail::IdTable;

std::mt19937 rng(7);

// Few ids, so that they come and go; many of them, so that the table grows with holes in it.
void it_finds_what_a_map_finds(unsigned different_ids, std::size_t calls) {
  IdTable table;
  std::unordered_map<std::string, std::uint32_t> map;
  std::vector<std::string> ids;  // by asset, as the library keeps them
  for (std::size_t i = 0; i < calls; ++i) {
    const std::string id = "photo-" + std::to_string(rng() % different_ids);
    const auto known = map.find(id);
    const std::uint32_t expected = known == map.end() ? IdTable::kNone : known->second;
    CHECK(table.find(id, ids) == expected, id);
    const auto next = static_cast<std::uint32_t>(ids.size());
    if (rng() % 3 != 0) {
      ids.push_back(id);
      const std::uint32_t found = table.find_or_add(id, next, ids);
      CHECK(found == (expected == IdTable::kNone ? next : expected), id);
      map.emplace(id, next);
    } else {
      table.erase(id, next, ids);  // another asset's: nothing happens
      CHECK(table.find(id, ids) == expected, id);
      table.erase(id, expected, ids);
      map.erase(id);
    }
    CHECK(table.size() == map.size(), table.size(), " entries, not ", map.size());
  }
  for (const auto& [id, asset] : map) CHECK(table.find(id, ids) == asset, id);
}

int run() {
  it_finds_what_a_map_finds(5, some_of(10'000));
  it_finds_what_a_map_finds(300, some_of(100'000));
  it_finds_what_a_map_finds(100'000, some_of(200'000));
  return report("id_table");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
