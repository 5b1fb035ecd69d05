// Face embeddings as int8 codes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facegrep {

inline constexpr std::size_t kMaxDim = 4096;

/// Codes `count` embeddings: scale = 127 / max|x| rounded once to float32, then per element one
/// float32 multiply and rint half to even. x is coded as it comes, never normalised first.
///
/// Shapes   embeddings (count, dim), codes (count, dim), both contiguous; dim in 1..kMaxDim.
/// Units    codes in [-127, 127]; the largest |x| becomes +-127.
/// NaN/inf  refused, and so is a vector whose max|x| is too small for a finite scale (< 3.8e-37).
/// Threads  reentrant; starts none.
/// Throws   InvalidArgument that names the first bad row. Rows before it have been written.
void quantize(const float* embeddings, std::size_t count, std::size_t dim, std::int8_t* codes);

}  // namespace facegrep
