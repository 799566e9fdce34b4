#pragma once
// ChatTemplate: the model's own Jinja template in a small interpreter with a step and an output
// budget. Parsing happens once at load time and refuses unknown syntax by name and line; rendering
// is const and thread-safe. Values are JSON-like trees (Boost.JSON).
//
// Semantics are those of transformers: trim_blocks, lstrip_blocks, tojson without ASCII escapes.

#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

struct ChatTemplateLimits {
  size_t max_steps = 1u << 20;          // evaluated nodes
  size_t max_output_bytes = 16u << 20;  // rendered text, and any string on the way
  size_t max_depth = 100;               // nesting of the template's syntax
};

class ChatTemplate {
 public:
  static Result<std::shared_ptr<const ChatTemplate>> parse(std::string_view source,
                                                           const ChatTemplateLimits& limits = {});
  ~ChatTemplate();

  // `variables`: messages, tools, add_generation_prompt, bos_token, eos_token and whatever
  // chat_template_kwargs adds. Errors: raise_exception's message, a missing key used as a string,
  // a budget that ran out.
  Result<std::string> render(const boost::json::object& variables) const;
  const std::string& source() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparrow
