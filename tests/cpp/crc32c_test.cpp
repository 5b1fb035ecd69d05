// The instruction, three at a time, and the tables give the same CRC-32C.

#include "checksum/crc32c.hpp"

#include <vector>

#include "check.hpp"

namespace facegrep::tests {
namespace {

using namespace detail;

// RFC 3720, B.4, and the check value of the catalogue of CRCs.
void it_is_the_crc_of_the_standard() {
  for (const auto crc : {crc32c, crc32c_portable}) {
    CHECK(crc("123456789", 9) == 0xE3069283, "123456789");
    const std::vector<unsigned char> zeros(32);
    const std::vector<unsigned char> ones(32, 0xFF);
    CHECK(crc(zeros.data(), 32) == 0x8A9136AA, "zeros");
    CHECK(crc(ones.data(), 32) == 0x62A8AB43, "ones");
    CHECK(crc(nullptr, 0) == 0, "nothing");
  }
}

void all_ways_agree() {
  std::mt19937 rng(5);
  std::vector<unsigned char> bytes(9 * kPageBytes + 8);
  for (std::size_t round = 0; round < some_of(200); ++round) {
    for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(rng());
    const std::size_t first = rng() % 8;
    const std::size_t count = rng() % 300;
    CHECK(crc32c(&bytes[first], count) == crc32c_portable(&bytes[first], count), count, " bytes");
    std::uint32_t pages[9] = {};
    const std::size_t n = rng() % 9 + 1;
    crc32c_pages(&bytes[first], n, pages);
    for (std::size_t page = 0; page < n; ++page) {
      const auto* const at = &bytes[first + page * kPageBytes];
      CHECK(pages[page] == crc32c_portable(at, kPageBytes), "page ", page, " of ", n);
    }
  }
}

int run() {
  it_is_the_crc_of_the_standard();
  all_ways_agree();
  return report("crc32c");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
