// The score of single pairs, as every search gives it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facegrep {

/// The cosine of query i with code i, for n pairs: to the bit that of a search
/// (src/score/exact.hpp). Both (n, dim), contiguous. Throws InvalidArgument for a query that is not
/// finite or all zero, and for a code that is all zero.
void scores(const float* queries, const std::int8_t* codes, std::size_t n, std::size_t dim,
            double* out);

}  // namespace facegrep
