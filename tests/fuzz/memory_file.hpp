// A file in memory, for what reads and writes descriptors.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace facegrep::fuzz {

class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("index", MFD_CLOEXEC)) {
    if (descriptor_ < 0) std::abort();
  }
  explicit MemoryFile(const std::vector<std::uint8_t>& bytes) : MemoryFile() {
    if (pwrite(descriptor_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      std::abort();
    }
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const noexcept { return descriptor_; }
  std::vector<std::uint8_t> bytes() const {
    struct stat status{};
    if (fstat(descriptor_, &status) != 0) std::abort();
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(status.st_size));
    if (pread(descriptor_, bytes.data(), bytes.size(), 0) != status.st_size) std::abort();
    return bytes;
  }

 private:
  int descriptor_;
};

}  // namespace facegrep::fuzz
