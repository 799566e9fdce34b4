#pragma once
// OutPath: where a converted model may go. Refuses to write over the source or, without permission,
// over anything; replaces a directory only if a model is in it. Move-only, one thread.

#include <string>

#include "base/status.h"

namespace sparrow {

class OutPath {
 public:
  // Errors name the path and the flag that would allow it.
  static Result<OutPath> check(const std::string& source, const std::string& wanted,
                               bool overwrite);

  // What to give to ModelWriter.
  const std::string& write_path() const { return write_path_; }
  bool is_gguf() const { return final_path_.ends_with(".gguf"); }
  // After ModelWriter::finish(): puts a replaced directory in place; removes the old one last.
  Status publish();

 private:
  std::string final_path_;
  std::string write_path_;  // differs only for a directory that replaces another
};

}  // namespace sparrow
