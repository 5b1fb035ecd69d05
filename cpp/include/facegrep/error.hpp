// The errors that the engine throws. The bindings turn each into its Python twin.
#pragma once

#include <stdexcept>
#include <string>

namespace facegrep {

/// The root of what the engine throws on purpose. Nothing has been changed when one is thrown.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The call was wrong: the message says what was expected and what came.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// A live asset of this id has other faces or fields than the ones being added.
class AlreadyExists : public InvalidArgument {
 public:
  using InvalidArgument::InvalidArgument;
};

/// SearchOptions::interrupted said so.
class Interrupted : public Error {
 public:
  Interrupted() : Error("the search was interrupted") {}
};

/// A saved index is not what was saved, or not one that this build reads. Make the index anew.
class SnapshotDamaged : public Error {
 public:
  using Error::Error;
};

/// No live asset has this id.
class MediaNotFound : public Error {
 public:
  explicit MediaNotFound(const std::string& media_id)
      : Error("media '" + media_id + "' does not exist"), media_id_(media_id) {}
  const std::string& media_id() const noexcept { return media_id_; }

 private:
  std::string media_id_;
};

}  // namespace facegrep
