// Adding: everything is checked and placed beyond the end first, then made visible at once.
#pragma once

#include <cstddef>

#include "facegrep/face_index.hpp"
#include "index/library.hpp"

namespace facegrep::detail {

/// See FaceIndex::add.
std::size_t add(const IncomingFaces& incoming, Library& library);

}  // namespace facegrep::detail
