// What an id may be made of, looked at byte by byte: ids of a file come past no str of Python's.
#pragma once

#include <string_view>

namespace facegrep::detail {

/// Whether every byte is U+0020..U+007E: eight at a time.
bool is_printable_ascii(std::string_view bytes) noexcept;

/// Whether it is UTF-8 (no surrogates, nothing overlong, nothing above U+10FFFF) without control
/// characters.
bool is_text(std::string_view bytes) noexcept;

}  // namespace facegrep::detail
