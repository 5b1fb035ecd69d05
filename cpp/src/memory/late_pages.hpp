// Bytes of an array that stay in a file until they are needed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace facegrep::detail {

/// The first bytes of an array, page by page: read into it when they are first asked for, and
/// checked then. Read, not mapped: what was checked cannot change any more, whatever becomes of the
/// file. A mapped page that is dropped from memory comes back from the disk unchecked, a file that
/// somebody overwrites (erasure does) would show through, and one that is cut short kills the
/// process.
///
/// Threads  reentrant; a page is in the array before anybody is told so. The array itself must stay
///          where it is during a call.
/// Throws   SnapshotDamaged when a page cannot be read or fails its checksum; bad_alloc.
class LatePages {
 public:
  /// Called with bytes that have come, before anybody sees them: [first, last) of the array.
  using Arrived = std::function<void(std::size_t first, std::size_t last, std::byte* bytes)>;

  /// `bytes` bytes at `offset` of a file, whose pages have these CRC-32C. Keeps a descriptor of its
  /// own, also when it throws std::system_error for want of one.
  LatePages(int descriptor, std::size_t offset, std::size_t bytes,
            std::vector<std::uint32_t> checksums);
  ~LatePages();
  LatePages(const LatePages&) = delete;
  LatePages& operator=(const LatePages&) = delete;

  /// Whether all of them have come.
  bool complete() const noexcept { return missing_.load(std::memory_order_acquire) == 0; }

  /// Asks for bytes [first, last) without waiting for them: several reads under way at once are
  /// several times as fast (4 KiB at random from the disk of a virtual machine: 61 us one by one,
  /// 18 us by 16).
  void ask_for(std::size_t first, std::size_t last) const noexcept;

  /// Puts bytes [first, last) into the array; those past the file's are the array's own business.
  void bring(std::size_t first, std::size_t last, std::byte* array, const Arrived& arrived);

 private:
  bool is_here(std::size_t page) const noexcept {
    return (here_[page / 64].load(std::memory_order_acquire) >> page % 64 & 1U) != 0;
  }
  void read_pages(std::size_t first, std::size_t last, std::byte* array, const Arrived& arrived);

  const int descriptor_;
  const std::size_t offset_;
  const std::size_t bytes_;
  const std::vector<std::uint32_t> checksums_;          // (pages)
  std::unique_ptr<std::atomic<std::uint64_t>[]> here_;  // a bit a page
  std::atomic<std::size_t> missing_;                    // pages
  std::mutex placing_;
};

}  // namespace facegrep::detail
