// What an id of a saved index may be made of, against the definition of UTF-8 taken apart.

#include "snapshot/text.hpp"

#include <string>

#include "check.hpp"

namespace facegrep::tests {
namespace {

using detail::is_printable_ascii;
using detail::is_text;

std::string encoded(std::uint32_t point, std::size_t bytes) {
  if (bytes == 1) return {static_cast<char>(point)};
  constexpr unsigned kFirst[] = {0, 0, 0xC0, 0xE0, 0xF0};
  std::string out(bytes, '\0');
  for (std::size_t i = bytes - 1; i > 0; --i, point >>= 6) {
    out[i] = static_cast<char>(0x80U | (point & 0x3FU));
  }
  out[0] = static_cast<char>(kFirst[bytes] | point);
  return out;
}

// Every code point in every length that has room for it; only the shortest is UTF-8.
void code_points_are_text_in_their_shortest_form() {
  constexpr std::uint32_t kRoom[] = {0, 0x80, 0x800, 0x10000, 0x200000};
  for (std::uint32_t point = 0; point < 0x120000; point += point < 0x3000 ? 1 : 61) {
    for (std::size_t bytes = 1; bytes <= 4; ++bytes) {
      if (point >= kRoom[bytes]) continue;
      const bool shortest = bytes == 1 || point >= kRoom[bytes - 1];
      const bool surrogate = point >= 0xD800 && point < 0xE000;
      const bool control = point < 0x20 || (point >= 0x7F && point < 0xA0);
      const bool expected = shortest && !surrogate && !control && point < 0x110000;
      const std::string text = encoded(point, bytes);
      CHECK(is_text("a" + text + "z") == expected, point, " in ", bytes, " bytes");
      if (bytes > 1) CHECK(!is_text(text.substr(0, bytes - 1)), point, " cut short");
      if (bytes > 1) CHECK(!is_text(text.substr(1)), point, " without its first byte");
    }
  }
}

void every_byte_in_every_place_is_told_from_ascii() {
  for (std::size_t length = 0; length < 40; ++length) {
    std::string text(length, 'x');
    CHECK(is_printable_ascii(text), length);
    for (std::size_t at = 0; at < length; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        text[at] = static_cast<char>(byte);
        const bool expected = byte >= 0x20 && byte < 0x7F;
        CHECK(is_printable_ascii(text) == expected, byte, " at ", at);
      }
      text[at] = "\x20~"[at % 2];  // the outermost beside it
    }
  }
}

int run() {
  code_points_are_text_in_their_shortest_form();
  every_byte_in_every_place_is_told_from_ascii();
  return report("text");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
