// facegrep._core: the engine for Python. Its errors become those of facegrep._errors.

#include <cerrno>
#include <system_error>

#include "bindings.hpp"
#include "facegrep/cpu.hpp"
#include "facegrep/quantize.hpp"
#include "facegrep/score.hpp"

namespace facegrep::bindings {
namespace {

// Translators run last registered first, so the root comes before what is under it; here one
// function keeps the order in sight. Its parameter is by value because pybind11 asks for that type.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void translate(std::exception_ptr thrown) {
  // Messages quote a part of an id, which may end within a character: strict decoding would raise
  // UnicodeDecodeError in place of the error.
  const auto text = [](const std::string& bytes) {
    return py::reinterpret_steal<py::str>(
        PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
  };
  const auto raise = [](const char* name, const auto&... arguments) {
    const py::object type = py::module_::import("facegrep._errors").attr(name);
    const py::object error = type(arguments...);
    PyErr_SetObject(type.ptr(), error.ptr());
  };
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const AlreadyExists& error) {
    raise("AlreadyExistsError", text(error.what()));
  } catch (const InvalidArgument& error) {
    raise("InvalidArgumentError", text(error.what()));
  } catch (const MediaNotFound& error) {
    raise("NotFoundError", "media", text(error.media_id()));
  } catch (const SnapshotDamaged& error) {
    raise("SnapshotDamaged", text(error.what()));
  } catch (const std::system_error& error) {
    errno = error.code().value();
    PyErr_SetFromErrno(PyExc_OSError);
  } catch (const Error& error) {
    raise("FacegrepError", text(error.what()));
  }
}

py::array_t<std::int8_t> quantize_rows(const py::array& vectors) {
  const float* values = rows_of<float>(vectors, "vectors", 0);
  const auto rows = static_cast<std::size_t>(vectors.shape(0));
  const auto dim = static_cast<std::size_t>(vectors.shape(1));
  if (dim < 1 || dim > kMaxDim) {
    throw InvalidArgument("vectors: expected 1 to 4096 columns, got " + std::to_string(dim));
  }
  py::array_t<std::int8_t> codes({rows, dim});
  std::int8_t* out = codes.mutable_data();
  const py::gil_scoped_release nogil;
  quantize(values, rows, dim, out);
  return codes;
}

py::array_t<double> score_pairs(const py::array& queries, const py::array& codes) {
  const float* values = rows_of<float>(queries, "queries", 0);
  const auto dim = static_cast<std::size_t>(queries.shape(1));
  const std::int8_t* rows = rows_of<std::int8_t>(codes, "codes", dim);
  const auto count = static_cast<std::size_t>(queries.shape(0));
  if (codes.shape(0) != queries.shape(0)) {
    throw InvalidArgument("codes: expected " + std::to_string(count) +
                          " rows, one a row of the queries, got " + std::to_string(codes.shape(0)));
  }
  py::array_t<double> scores(static_cast<py::ssize_t>(count));
  double* out = scores.mutable_data();
  const py::gil_scoped_release nogil;
  facegrep::scores(values, rows, count, dim, out);
  return scores;
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  active_isa();  // an impossible FACEGREP_ISA is an ImportError here, with the reason
  py::register_exception_translator(translate);
  m.def("active_isa", &active_isa);
  m.def("quantize", quantize_rows, py::arg("vectors"));
  m.def("scores", score_pairs, py::arg("queries"), py::arg("codes"));
  bind_face_index(m);
}

}  // namespace facegrep::bindings
