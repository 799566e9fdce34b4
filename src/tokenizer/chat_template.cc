#include "tokenizer/chat_template.h"

#include "base/utf8.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/parser.h"

namespace sparrow {
namespace {

// Larger sources are no chat templates.
constexpr size_t kMaxSourceBytes = 1u << 20;

// \n line ends, and no newline at the very end: as Jinja reads a template.
std::string normalized(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source;
  ChatTemplateLimits limits;
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::source() const { return impl_->source; }

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::parse(std::string_view source,
                                                                const ChatTemplateLimits& limits) {
  if (source.size() > kMaxSourceBytes) {
    return invalid_argument("chat template: longer than 1 MiB");
  }
  if (!is_valid_utf8(source)) return invalid_argument("chat template: not valid UTF-8");
  auto impl = std::make_unique<Impl>();
  impl->source = std::string(source);
  impl->limits = limits;
  try {
    impl->body = jinja::parse_template(jinja::tokenize(normalized(source)), limits.max_depth);
  } catch (const jinja::TemplateError& error) {
    return invalid_argument(std::string("chat template: ") + error.what());
  }
  return std::shared_ptr<const ChatTemplate>(new ChatTemplate(std::move(impl)));
}

Result<std::string> ChatTemplate::render(const boost::json::object& variables) const {
  try {
    jinja::Dict values;
    for (const auto& [name, value] : variables)
      values.emplace_back(name, jinja::Value::from_json(value));
    return jinja::Interpreter(impl_->limits, std::move(values)).render(impl_->body);
  } catch (const jinja::TemplateError& error) {
    return invalid_argument(std::string("chat template: ") + error.what());
  }
}

}  // namespace sparrow
