#include "model/files/safetensors_json.h"

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <unordered_set>
#include <utility>

#include "model/files/printable.h"

namespace sparrow {
namespace {

namespace json = boost::json;

constexpr size_t kMaxRank = 8;

// Events of the parser drive a small state machine. Every handler returns false after fail().
class HeaderHandler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = 1u << 16;
  static constexpr size_t max_string_size = 1u << 20;

  std::vector<SafetensorsEntry> take_entries() { return std::move(entries_); }
  const std::string& problem() const { return problem_; }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }

  bool on_object_begin(json::error_code& error) {
    switch (state_) {
      case State::kStart:
        state_ = State::kRoot;
        return true;
      case State::kTensorValue:
        state_ = State::kTensor;
        return true;
      case State::kMetadataValue:
        state_ = State::kMetadata;
        return true;
      default:
        return fail(error, "an object where none belongs");
    }
  }

  bool on_object_end(size_t, json::error_code& error) {
    if (state_ == State::kTensor && !finish_entry(error)) return false;
    state_ = state_ == State::kRoot ? State::kEnd : State::kRoot;
    return true;
  }

  bool on_array_begin(json::error_code& error) {
    if (state_ == State::kShapeValue) {
      state_ = State::kShape;
      return true;
    }
    if (state_ == State::kOffsetsValue) {
      state_ = State::kOffsets;
      return true;
    }
    return fail(error, "an array where none belongs");
  }

  bool on_array_end(size_t, json::error_code&) {
    state_ = State::kTensor;
    return true;
  }

  bool on_key_part(json::string_view text, size_t, json::error_code&) {
    text_.append(text.data(), text.size());
    return true;
  }

  bool on_key(json::string_view text, size_t, json::error_code& error) {
    text_.append(text.data(), text.size());
    const std::string key = std::exchange(text_, {});
    if (state_ == State::kMetadata) {
      state_ = State::kMetadataText;
      return true;
    }
    if (state_ == State::kTensor) return on_field(key, error);
    if (!names_.insert(key).second) return fail(error, "the name occurs twice", key);
    if (key == "__metadata__") {
      state_ = State::kMetadataValue;
      return true;
    }
    entry_ = {};
    entry_.name = key;
    offsets_.clear();
    seen_dtype_ = seen_shape_ = seen_offsets_ = false;
    state_ = State::kTensorValue;
    return true;
  }

  bool on_string_part(json::string_view text, size_t, json::error_code&) {
    text_.append(text.data(), text.size());
    return true;
  }

  bool on_string(json::string_view text, size_t, json::error_code& error) {
    text_.append(text.data(), text.size());
    std::string value = std::exchange(text_, {});
    if (state_ == State::kMetadataText) {
      state_ = State::kMetadata;
      return true;
    }
    if (state_ != State::kDtypeValue) return fail(error, "a string where none belongs");
    entry_.dtype = std::move(value);
    state_ = State::kTensor;
    return true;
  }

  bool on_number_part(json::string_view, json::error_code&) { return true; }

  bool on_int64(int64_t value, json::string_view, json::error_code& error) {
    if (value < 0) return fail(error, fmt::format("found {}, expected no negative number", value));
    if (state_ == State::kShape && entry_.shape.size() < kMaxRank) {
      entry_.shape.push_back(value);
      return true;
    }
    if (state_ == State::kOffsets && offsets_.size() < 2) {
      offsets_.push_back(static_cast<uint64_t>(value));
      return true;
    }
    return fail(error, "a number where none belongs");
  }

  bool on_uint64(uint64_t value, json::string_view, json::error_code& error) {
    return fail(error, fmt::format("found {}, expected a number below 2^63", value));
  }
  bool on_double(double value, json::string_view, json::error_code& error) {
    return fail(error, fmt::format("found {}, expected a whole number", value));
  }
  bool on_bool(bool, json::error_code& error) { return fail(error, "found a boolean"); }
  bool on_null(json::error_code& error) { return fail(error, "found null"); }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  enum class State {
    kStart,
    kRoot,
    kTensorValue,
    kTensor,
    kDtypeValue,
    kShapeValue,
    kShape,
    kOffsetsValue,
    kOffsets,
    kMetadataValue,
    kMetadata,
    kMetadataText,
    kEnd,
  };

  bool on_field(const std::string& key, json::error_code& error) {
    bool* seen = nullptr;
    if (key == "dtype") {
      seen = &seen_dtype_;
      state_ = State::kDtypeValue;
    } else if (key == "shape") {
      seen = &seen_shape_;
      state_ = State::kShapeValue;
    } else if (key == "data_offsets") {
      seen = &seen_offsets_;
      state_ = State::kOffsetsValue;
    } else {
      return fail(error, "unknown field " + printable(key));
    }
    if (std::exchange(*seen, true)) return fail(error, "field " + printable(key) + " occurs twice");
    return true;
  }

  bool finish_entry(json::error_code& error) {
    if (!seen_dtype_ || !seen_shape_ || !seen_offsets_) {
      return fail(error, "expected the fields dtype, shape and data_offsets");
    }
    if (offsets_.size() != 2) return fail(error, "data_offsets: expected two numbers");
    entry_.begin = offsets_[0];
    entry_.end = offsets_[1];
    entries_.push_back(std::move(entry_));
    entry_ = {};
    return true;
  }

  bool fail(json::error_code& error, const std::string& what, const std::string& name = {}) {
    const std::string& where = name.empty() ? entry_.name : name;
    problem_ = where.empty() ? what : fmt::format("tensor {}: {}", printable(where), what);
    error = json::make_error_code(json::error::syntax);
    return false;
  }

  State state_ = State::kStart;
  std::string text_;
  SafetensorsEntry entry_;
  std::vector<uint64_t> offsets_;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  std::unordered_set<std::string> names_;
  std::vector<SafetensorsEntry> entries_;
  std::string problem_;
};

}  // namespace

Result<std::vector<SafetensorsEntry>> parse_safetensors_json(std::string_view text,
                                                             const std::string& path) {
  json::parse_options options;
  options.max_depth = 4;
  json::basic_parser<HeaderHandler> parser(options);
  json::error_code error;
  const size_t consumed = parser.write_some(false, text.data(), text.size(), error);
  if (!error && text.find_first_not_of(" \t\r\n", consumed) != std::string_view::npos) {
    return data_loss(fmt::format("{}: header: text after the end of the JSON value", path));
  }
  if (!error) return parser.handler().take_entries();
  const std::string& problem = parser.handler().problem();
  return data_loss(fmt::format("{}: header near byte {}: {}", path, consumed + 8,
                               problem.empty() ? error.message() : problem));
}

}  // namespace sparrow
