// Python values to the columns and conditions of the engine.

#include <array>
#include <utility>

#include "bindings.hpp"

namespace facegrep::bindings {
namespace {

constexpr std::array<std::pair<const char*, IntField>, kIntFields> kIntNames{
    {{"intField1", IntField::kIntField1}, {"utcCreate", IntField::kUtcCreate}}};
constexpr std::array<std::pair<const char*, TextField>, kTextFields> kTextNames{
    {{"strField1", TextField::kStrField1},
     {"strField2", TextField::kStrField2},
     {"mediaType", TextField::kMediaType},
     {"namespace", TextField::kNamespace}}};

template <typename Names>
auto field_named(const Names& names, std::string_view name)
    -> std::optional<decltype(names[0].second)> {
  for (const auto& [known, field] : names) {
    if (name == known) return field;
  }
  return std::nullopt;
}

[[noreturn]] void refuse_unknown(const std::string& name) {
  throw InvalidArgument("fields: unknown field '" + name +
                        "'; expected intField1, strField1, strField2, utcCreate, mediaType or "
                        "namespace");
}

}  // namespace

py::tuple frozen(const py::handle& sequence, const char* name) {
  if (PyUnicode_Check(sequence.ptr()) || PyBytes_Check(sequence.ptr())) {
    throw InvalidArgument(std::string(name) + ": expected a sequence, got one string");
  }
  PyObject* tuple = PySequence_Tuple(sequence.ptr());
  if (tuple == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    throw InvalidArgument(std::string(name) + ": expected a sequence, got " +
                          Py_TYPE(sequence.ptr())->tp_name);
  }
  return py::reinterpret_steal<py::tuple>(tuple);
}

std::string Argument::text() const {
  return std::string(name) + (entry ? ": entry " + std::to_string(*entry) : "");
}

std::string_view text_of(const py::handle& object, const Argument& who) {
  if (!PyUnicode_Check(object.ptr())) {
    throw InvalidArgument(who.text() + ": expected str, got " + Py_TYPE(object.ptr())->tp_name);
  }
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (bytes == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_UnicodeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    throw InvalidArgument(who.text() + " has a lone surrogate: it is not Unicode text");
  }
  return {bytes, static_cast<std::size_t>(size)};
}

std::vector<std::string_view> texts_of(const py::tuple& texts, const char* name) {
  std::vector<std::string_view> views;
  views.reserve(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    views.push_back(text_of(PyTuple_GET_ITEM(texts.ptr(), static_cast<Py_ssize_t>(i)), {name, i}));
  }
  return views;
}

std::int64_t int64_of(const py::handle& object, const Argument& who) {
  if (PyBool_Check(object.ptr()) || !PyIndex_Check(object.ptr())) {
    throw InvalidArgument(who.text() + ": expected int, got " + Py_TYPE(object.ptr())->tp_name);
  }
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0) {
    throw InvalidArgument(who.text() + ": expected an integer of 64 bits, got one beyond them");
  }
  return value;
}

void read_fields(const py::dict& fields, std::size_t rows, IncomingFaces& incoming,
                 std::vector<py::tuple>& keep_alive) {
  for (const auto& [key, values] : fields) {
    const std::string name(text_of(key, {"fields: a name", {}}));
    const auto int_field = field_named(kIntNames, name);
    const auto text_field = field_named(kTextNames, name);
    if (!int_field && !text_field) refuse_unknown(name);
    const std::string who = "fields['" + name + "']";
    keep_alive.push_back(frozen(values, who.c_str()));
    const py::tuple& column = keep_alive.back();
    if (column.size() != rows) {
      throw InvalidArgument(who + ": expected " + std::to_string(rows) +
                            " values, one a row, got " + std::to_string(column.size()));
    }
    if (rows == 0) continue;
    if (int_field) incoming.ints[static_cast<std::size_t>(*int_field)].resize(rows);
    if (text_field) incoming.texts[static_cast<std::size_t>(*text_field)].resize(rows);
    for (std::size_t row = 0; row < rows; ++row) {
      const py::handle value = PyTuple_GET_ITEM(column.ptr(), static_cast<Py_ssize_t>(row));
      if (value.is_none()) continue;
      if (int_field) {
        incoming.ints[static_cast<std::size_t>(*int_field)][row] = int64_of(value, {who, row});
      } else {
        incoming.texts[static_cast<std::size_t>(*text_field)][row] = text_of(value, {who, row});
      }
    }
  }
}

Filter read_filter(const py::list& conditions) {
  Filter filter;
  for (const py::handle condition : conditions) {
    const auto pair = py::reinterpret_borrow<py::tuple>(condition);
    const std::string name(text_of(pair[0], {"where: a name", {}}));
    if (const auto field = field_named(kIntNames, name)) {
      IntCondition ints{*field, {}};
      for (const py::handle range : py::reinterpret_borrow<py::list>(pair[1])) {
        const auto ends = py::reinterpret_borrow<py::tuple>(range);
        ints.any_of.push_back({int64_of(ends[0], {name, {}}), int64_of(ends[1], {name, {}})});
      }
      filter.ints.push_back(std::move(ints));
    } else if (const auto text_field = field_named(kTextNames, name)) {
      TextCondition texts{*text_field, {}};
      for (const py::handle text : py::reinterpret_borrow<py::list>(pair[1])) {
        texts.any_of.emplace_back(text_of(text, {name, {}}));
      }
      filter.texts.push_back(std::move(texts));
    } else {
      refuse_unknown(name);
    }
  }
  return filter;
}

}  // namespace facegrep::bindings
