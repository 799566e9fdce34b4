#pragma once
// Budget: what one rendering may still spend, so that no template and no conversation can hold a
// worker: every evaluated node is a step, every byte made or searched counts too. And
// TemplateError, the way a rendering or parse ends early: thrown inside the folder, caught by
// ChatTemplate.

#include <cstddef>
#include <stdexcept>

#include "tokenizer/chat_template.h"

namespace sparrow::jinja {

struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Budget {
 public:
  explicit Budget(const ChatTemplateLimits& limits) : limits_(limits) {}

  void step(size_t count = 1) {
    used_ += count;
    if (used_ > limits_.max_steps) throw TemplateError("the template takes too many steps");
  }
  // Bytes are about to be copied, compared or searched.
  void touch(size_t bytes) { step(bytes / kBytesPerStep); }
  // A string or list of this many bytes in all is about to exist.
  void make(size_t bytes) {
    check_size(bytes);
    touch(bytes);
  }
  void check_size(size_t bytes) const {
    if (bytes > limits_.max_output_bytes) throw TemplateError("the template makes too much text");
  }
  size_t max_bytes() const { return limits_.max_output_bytes; }

 private:
  // A step costs some 50 ns, copying 256 bytes some 20 ns: bytes are never cheaper than steps.
  static constexpr size_t kBytesPerStep = 256;

  const ChatTemplateLimits& limits_;
  size_t used_ = 0;
};

}  // namespace sparrow::jinja
