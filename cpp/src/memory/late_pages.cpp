#include "memory/late_pages.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "checksum/crc32c.hpp"
#include "facegrep/error.hpp"
#include "memory/growing_array.hpp"

namespace facegrep::detail {
namespace {

// Pages that are wanted side by side are read together, up to so many.
constexpr std::size_t kMostAtOnce = 96;

// Opened anew, not duplicated: a duplicate shares the kernel's memory of how the file was read, and
// after the long read of a loading, it reads on behind every page, whatever it is advised (Linux
// 6.18, 5,400 rows of 10M x 128: 650 MB from the disk in place of 22).
int reopened(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  int own = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (own < 0) own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (own < 0) throw std::system_error(errno, std::generic_category(), "opening a saved index");
  return own;
}

}  // namespace

LatePages::LatePages(int descriptor, std::size_t offset, std::size_t bytes,
                     std::vector<std::uint32_t> checksums)
    : descriptor_(reopened(descriptor)),
      offset_(offset),
      bytes_(bytes),
      checksums_(std::move(checksums)),
      here_(new (std::nothrow) std::atomic<std::uint64_t>[(checksums_.size() + 63) / 64]()),
      missing_(checksums_.size()) {
  if (here_ != nullptr) return;
  close(descriptor_);
  throw std::bad_alloc();
}

LatePages::~LatePages() { close(descriptor_); }

void LatePages::ask_for(std::size_t first, std::size_t last) const noexcept {
  last = std::min(last, bytes_);
  for (std::size_t page = first / kPageBytes; page * kPageBytes < last; ++page) {
    if (is_here(page)) continue;
    posix_fadvise(descriptor_, static_cast<off_t>(offset_ + page * kPageBytes), kPageBytes,
                  POSIX_FADV_WILLNEED);
  }
}

void LatePages::bring(std::size_t first, std::size_t last, std::byte* array,
                      const Arrived& arrived) {
  last = std::min(last, bytes_);
  std::size_t page = first / kPageBytes;
  while (page * kPageBytes < last) {
    if (is_here(page)) {
      ++page;
      continue;
    }
    const std::size_t begin = page++;
    while (page * kPageBytes < last && page - begin < kMostAtOnce && !is_here(page)) ++page;
    read_pages(begin, page, array, arrived);
  }
}

void LatePages::read_pages(std::size_t first, std::size_t last, std::byte* array,
                           const Arrived& arrived) {
  std::vector<std::byte> read((last - first) * kPageBytes);
  for (std::size_t done = 0; done < read.size();) {
    const ssize_t count = pread(descriptor_, read.data() + done, read.size() - done,
                                static_cast<off_t>(offset_ + first * kPageBytes + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw SnapshotDamaged(std::string("reading codes failed: ") + strerror(errno));
    if (count == 0) throw SnapshotDamaged("the file became shorter");
    done += static_cast<std::size_t>(count);
  }
  std::vector<std::uint32_t> found(last - first);
  crc32c_pages(read.data(), found.size(), found.data());
  if (!std::equal(found.begin(), found.end(), &checksums_[first])) {
    throw SnapshotDamaged("codes fail their checksum");
  }
  const std::size_t end = std::min(last * kPageBytes, bytes_);
  arrived(first * kPageBytes, end, read.data());

  const std::lock_guard<std::mutex> lock(placing_);
  for (std::size_t page = first; page < last; ++page) {
    if (is_here(page)) continue;  // another thread was faster, and others may be reading it
    const std::size_t begin = page * kPageBytes;
    std::memcpy(array + begin, read.data() + (begin - first * kPageBytes),
                std::min(kPageBytes, end - begin));
    here_[page / 64].fetch_or(std::uint64_t{1} << page % 64, std::memory_order_release);
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) use_huge_pages(array, bytes_);
  }
}

}  // namespace facegrep::detail
