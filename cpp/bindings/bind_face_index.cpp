// FaceIndex and SearchResult for Python: validate, view, release the GIL, call, wrap.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "bindings.hpp"
#include "facegrep/face_index.hpp"

namespace facegrep::bindings {
namespace {

using Result = std::shared_ptr<SearchResult>;

std::vector<std::int64_t> int64s_of(const py::array& array, const char* name) {
  if (!array.dtype().is(py::dtype::of<std::int64_t>()) || array.ndim() != 1) {
    throw InvalidArgument(std::string(name) + ": expected int64, one a row");
  }
  const auto values = array.unchecked<std::int64_t, 1>();
  std::vector<std::int64_t> out;
  out.reserve(static_cast<std::size_t>(values.shape(0)));
  for (py::ssize_t i = 0; i < values.shape(0); ++i) out.push_back(values(i));
  return out;
}

std::size_t add_rows(FaceIndex& index, const py::object& media_ids, IncomingFaces incoming,
                     std::size_t rows, const py::dict& fields) {
  const py::tuple ids = frozen(media_ids, "media_ids");
  if (ids.size() != rows) {
    throw InvalidArgument("media_ids: expected " + std::to_string(rows) +
                          " ids, one a row of the vectors, got " + std::to_string(ids.size()));
  }
  std::vector<py::tuple> keep_alive;
  incoming.media_ids = texts_of(ids, "media_ids");
  read_fields(fields, rows, incoming, keep_alive);
  const py::gil_scoped_release nogil;
  return index.add(incoming);
}

std::size_t add(FaceIndex& index, const py::object& media_ids, const py::array& vectors,
                const py::dict& fields) {
  IncomingFaces incoming;
  incoming.embeddings = rows_of<float>(vectors, "vectors", index.dim());
  return add_rows(index, media_ids, std::move(incoming), static_cast<std::size_t>(vectors.shape(0)),
                  fields);
}

std::size_t add_codes(FaceIndex& index, const py::object& media_ids, const py::array& codes,
                      const py::dict& fields, const py::array& keys) {
  IncomingFaces incoming;
  incoming.codes = rows_of<std::int8_t>(codes, "codes", index.dim());
  const auto rows = static_cast<std::size_t>(codes.shape(0));
  incoming.keys = int64s_of(keys, "keys");
  if (incoming.keys.size() != rows) throw InvalidArgument("keys: expected int64, one a row");
  return add_rows(index, media_ids, std::move(incoming), rows, fields);
}

std::size_t remove(FaceIndex& index, const py::object& media_ids) {
  const py::tuple ids = frozen(media_ids, "media_ids");
  const auto views = texts_of(ids, "media_ids");
  const py::gil_scoped_release nogil;
  return index.remove(views);
}

std::size_t remove_keys(FaceIndex& index, const py::array& keys) {
  std::vector<std::int64_t> values = int64s_of(keys, "keys");
  const py::gil_scoped_release nogil;
  return index.remove_keys(std::move(values));
}

void save(const FaceIndex& index, int descriptor, const py::bytes& notes) {
  const auto view = static_cast<std::string_view>(notes);
  const py::gil_scoped_release nogil;
  index.save(descriptor, view);
}

std::pair<std::unique_ptr<FaceIndex>, py::bytes> load(int descriptor) {
  std::string notes;
  std::unique_ptr<FaceIndex> index;
  {
    const py::gil_scoped_release nogil;
    index = FaceIndex::load(descriptor, notes);
  }
  return {std::move(index), py::bytes(notes)};
}

py::array_t<std::int8_t> codes(const FaceIndex& index, const py::object& media_ids) {
  const py::tuple ids = frozen(media_ids, "media_ids");
  const auto views = texts_of(ids, "media_ids");
  std::vector<std::int8_t> found;
  {
    const py::gil_scoped_release nogil;
    found = index.codes(views);
  }
  const std::size_t dim = index.dim();
  py::array_t<std::int8_t> out({found.size() / dim, dim});
  std::copy(found.begin(), found.end(), out.mutable_data());
  return out;
}

py::array_t<std::int64_t> array_of(const std::vector<std::int64_t>& values) {
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::array_t<std::int64_t> face_counts(const FaceIndex& index, const py::object& media_ids) {
  const py::tuple ids = frozen(media_ids, "media_ids");
  const auto views = texts_of(ids, "media_ids");
  std::vector<std::int64_t> found;
  {
    const py::gil_scoped_release nogil;
    found = index.face_counts(views);
  }
  return array_of(found);
}

Filter filter_of(const py::list& where, const std::optional<py::array>& among) {
  Filter filter = read_filter(where);
  if (among) filter.keys = int64s_of(*among, "among");
  return filter;
}

py::array_t<std::int64_t> keys(const FaceIndex& index, const py::list& where,
                               const std::optional<py::array>& among) {
  const Filter filter = filter_of(where, among);
  std::vector<std::int64_t> found;
  {
    const py::gil_scoped_release nogil;
    found = index.keys(filter);
  }
  return array_of(found);
}

std::vector<Result> search(const FaceIndex& index, const py::array& queries,
                           std::optional<double> threshold, std::size_t limit, std::size_t offset,
                           const py::list& where, std::size_t threads,
                           const std::optional<py::array>& among) {
  const float* rows = rows_of<float>(queries, "queries", index.dim());
  const auto count = static_cast<std::size_t>(queries.shape(0));
  // A copy: without the GIL others may write to the array, and a query has to be the same one when
  // its norm is taken, when it is quantised and at every exact score.
  const std::vector<float> values(rows, rows + count * index.dim());
  // Ctrl-C raises in the thread that called, as soon as the search has asked.
  const auto interrupted = [] {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  };
  const SearchOptions options{threshold, limit,      offset, filter_of(where, among),
                              threads,   interrupted};
  try {
    const py::gil_scoped_release nogil;
    return index.search(values.data(), count, options);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

// Matches [offset, offset + limit) that there are.
std::pair<std::size_t, std::size_t> clip(const SearchResult& result, std::size_t offset,
                                         std::size_t limit) {
  const std::size_t first = std::min(offset, result.size());
  return {first, first + std::min(limit, result.size() - first)};
}

py::list media_ids_of(const SearchResult& result, std::size_t offset, std::size_t limit) {
  const auto [first, last] = clip(result, offset, limit);
  py::list ids(last - first);
  for (std::size_t i = first; i < last; ++i) {
    const std::string_view id = result.media_id(i);
    ids[i - first] = py::str(id.data(), id.size());
  }
  return ids;
}

// One of the result's columns as a read-only array that keeps the result alive: cutting a page must
// not cost a copy of every match.
template <typename T, std::vector<T> SearchResult::* column>
py::array_t<T> column_of(const Result& result) {
  const std::vector<T>& values = (*result).*column;
  py::array_t<T> array(static_cast<py::ssize_t>(values.size()), values.data(), py::cast(result));
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

// A property that may wait for the index's lock.
template <std::size_t (FaceIndex::*count)() const>
std::size_t without_gil(const FaceIndex& index) {
  const py::gil_scoped_release nogil;
  return (index.*count)();
}

}  // namespace

void bind_face_index(py::module_& m) {
  py::class_<SearchResult, std::shared_ptr<SearchResult>>(m, "SearchResult")
      .def_readonly("total", &SearchResult::total)
      .def_readonly("threshold", &SearchResult::threshold)
      .def_readonly("limit", &SearchResult::limit)
      .def_readonly("offset", &SearchResult::offset)
      .def_property_readonly("plan",
                             [](const SearchResult& result) {
                               const Plan& plan = result.plan;
                               return py::make_tuple(plan.strategy, plan.isa, plan.threads,
                                                     plan.rows_live, plan.rows_in_filter,
                                                     plan.rows_scanned, plan.blocks_scanned,
                                                     plan.blocks_settled, plan.rows_dotted,
                                                     plan.rows_scored, plan.bytes_touched);
                             })
      .def_property_readonly("scores", column_of<double, &SearchResult::scores>)
      .def_property_readonly("keys", column_of<std::int64_t, &SearchResult::keys>)
      .def_property_readonly("faces", column_of<std::uint32_t, &SearchResult::faces>)
      .def("__len__", &SearchResult::size)
      .def("media_ids", media_ids_of, py::arg("offset"), py::arg("limit"));

  py::class_<FaceIndex>(m, "FaceIndex")
      .def(py::init<std::size_t>(), py::arg("dim"))
      .def("add", add, py::arg("media_ids"), py::arg("vectors"), py::arg("fields"))
      .def("add_codes", add_codes, py::arg("media_ids"), py::arg("codes"), py::arg("fields"),
           py::arg("keys"))
      .def("remove", remove, py::arg("media_ids"))
      .def("remove_keys", remove_keys, py::arg("keys"))
      .def("save", save, py::arg("descriptor"), py::arg("notes"))
      .def("bring_codes", &FaceIndex::bring_codes, py::call_guard<py::gil_scoped_release>())
      .def_static("load", load, py::arg("descriptor"))
      .def("codes", codes, py::arg("media_ids"))
      .def("face_counts", face_counts, py::arg("media_ids"))
      .def("keys", keys, py::arg("where"), py::arg("among") = py::none())
      .def("search", search, py::arg("queries"), py::arg("threshold"), py::arg("limit"),
           py::arg("offset"), py::arg("where"), py::arg("threads"), py::arg("among") = py::none())
      .def_property_readonly("dim", &FaceIndex::dim)
      .def_property_readonly("face_count", without_gil<&FaceIndex::face_count>)
      .def_property_readonly("media_count", without_gil<&FaceIndex::media_count>)
      .def_property_readonly("nbytes", without_gil<&FaceIndex::nbytes>);
}

}  // namespace facegrep::bindings
