// Writes saved indexes of every shape, as inputs of snapshot_fuzz: snapshot_seeds FOLDER

#include <fstream>
#include <random>

#include "facegrep/face_index.hpp"
#include "memory_file.hpp"
#include "snapshot_image.hpp"

namespace facegrep::fuzz {
namespace {

constexpr std::string_view kTexts[] = {"a", "b", "", "\xC3\xA9", "a longer text"};

struct Shape {
  std::size_t dim;
  std::size_t assets;
  std::size_t faces;  // of each
  bool fields;
  std::size_t removed;  // one in so many; 0: none
};

Bytes saved(const Shape& shape) {
  std::mt19937 rng(7);
  FaceIndex index(shape.dim);
  std::vector<std::string> ids;
  ids.reserve(shape.assets);
  for (std::size_t asset = 0; asset < shape.assets; ++asset) {
    ids.push_back((asset % 5 == 4 ? "\xE2\x82\xAC " : "id ") + std::to_string(asset));
  }
  IncomingFaces incoming;
  std::vector<std::int8_t> codes;
  for (std::size_t row = 0; row < shape.assets * shape.faces; ++row) {
    const std::size_t asset = row / shape.faces;
    incoming.media_ids.emplace_back(ids[asset]);
    incoming.keys.push_back(static_cast<std::int64_t>(asset));
    codes.push_back(127);
    for (std::size_t i = 1; i < shape.dim; ++i) {
      codes.push_back(static_cast<std::int8_t>(static_cast<int>(rng() % 255) - 127));
    }
    for (auto& column : incoming.ints) {
      if (shape.fields) column.emplace_back(static_cast<std::int64_t>(asset % 3));
    }
    for (auto& column : incoming.texts) {
      if (shape.fields) column.emplace_back(kTexts[asset % std::size(kTexts)]);
    }
  }
  incoming.codes = codes.data();
  index.add(incoming);
  std::vector<std::string_view> gone;
  for (std::size_t asset = 0; shape.removed > 0 && asset < ids.size(); asset += shape.removed) {
    gone.emplace_back(ids[asset]);
  }
  index.remove(gone);
  const MemoryFile file;
  index.save(file.descriptor(), "notes");
  return file.bytes();
}

}  // namespace
}  // namespace facegrep::fuzz

int main(int count, char** arguments) {
  using namespace facegrep::fuzz;
  if (count != 2) return 2;
  const Shape shapes[] = {{2, 0, 1, false, 0}, {2, 1, 1, false, 0}, {3, 5, 2, true, 0},
                          {8, 20, 1, true, 4}, {4, 70, 1, true, 3}, {96, 50, 2, true, 9}};
  int number = 0;
  for (const Shape& shape : shapes) {
    const Bytes input = input_of(image_of_file(saved(shape)));
    std::ofstream out(arguments[1] + ("/" + std::to_string(number++)), std::ios::binary);
    out.write(reinterpret_cast<const char*>(input.data()), static_cast<long>(input.size()));
    if (!out.flush()) return 1;
  }
  return 0;
}
