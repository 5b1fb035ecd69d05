// What the binding files share: views of Python's objects, checked, never copied or converted.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "facegrep/error.hpp"
#include "facegrep/face_index.hpp"

namespace facegrep::bindings {

namespace py = pybind11;

/// The (n, dim) rows of a C-contiguous array of T; refuses any other dtype, rank or layout by name.
/// dim = 0 accepts every width.
template <typename T>
const T* rows_of(const py::array& array, const char* name, std::size_t dim) {
  const std::string who = name;
  if (!array.dtype().is(py::dtype::of<T>())) {
    throw InvalidArgument(who + ": expected dtype " + std::string(py::str(py::dtype::of<T>())) +
                          ", got " + std::string(py::str(array.dtype())));
  }
  if (array.ndim() != 2) {
    throw InvalidArgument(who + ": expected 2 dimensions (n, dim), got " +
                          std::to_string(array.ndim()));
  }
  if (dim != 0 && static_cast<std::size_t>(array.shape(1)) != dim) {
    throw InvalidArgument(who + ": expected " + std::to_string(dim) + " columns, got " +
                          std::to_string(array.shape(1)));
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw InvalidArgument(who + ": expected C-contiguous rows, pass numpy.ascontiguousarray(" +
                          who + ")");
  }
  return static_cast<const T*>(array.data());
}

/// A sequence held as a tuple: nobody can change it, or free its items, while the GIL is released.
py::tuple frozen(const py::handle& sequence, const char* name);

/// What a refusal is about; spelt out only when there is one, since there may be millions of rows.
struct Argument {
  std::string_view name;
  std::optional<std::size_t> entry;

  std::string text() const;
};

/// The UTF-8 of a str, alive as long as the object.
std::string_view text_of(const py::handle& object, const Argument& who);

std::vector<std::string_view> texts_of(const py::tuple& texts, const char* name);

/// An int64 of an int, a numpy integer, or whatever has __index__; never of a bool.
std::int64_t int64_of(const py::handle& object, const Argument& who);

/// The columns of add(). `keep_alive` receives what the string views point into.
void read_fields(const py::dict& fields, std::size_t rows, IncomingFaces& incoming,
                 std::vector<py::tuple>& keep_alive);

/// The conditions that facegrep._where compiled: [(field, [(lowest, highest), ...] | [str, ...])].
Filter read_filter(const py::list& conditions);

void bind_face_index(py::module_& m);

}  // namespace facegrep::bindings
