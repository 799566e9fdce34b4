#include "tools/pull/file_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <set>

#include "base/utf8.h"

namespace sparrow {
namespace {

namespace json = boost::json;

constexpr size_t kMaxFiles = 10000;
constexpr size_t kMaxPathLength = 512;
constexpr size_t kMaxPartLength = 255;  // of Linux file systems
// 64 TiB: far above any model, and 10,000 of them still fit into 64 bits.
constexpr int64_t kMaxFileBytes = int64_t{1} << 46;
constexpr size_t kMaxNamesInError = 12;

constexpr std::string_view kSmallFiles[] = {"config.json", "generation_config.json",
                                            "tokenizer.json", "tokenizer_config.json",
                                            "chat_template.jinja"};
constexpr std::string_view kSingleWeights = "model.safetensors";
constexpr std::string_view kWeightIndex = "model.safetensors.index.json";

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Without what a terminal would obey.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 80));
  for (char& c : out) {
    if (is_control(c) || static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return out;
}

bool is_hex(std::string_view text, size_t length) {
  return text.size() == length &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

const json::value* field(const json::object& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &found->value();
}

std::string_view text_field(const json::object& object, const char* name) {
  const json::value* value = field(object, name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::optional<int64_t> size_field(const json::object& object) {
  const json::value* value = field(object, "size");
  if (value == nullptr) return std::nullopt;
  json::error_code error;
  const auto size = value->to_number<int64_t>(error);
  if (error || size < 0 || size > kMaxFileBytes) return std::nullopt;
  return size;
}

Result<HubFile> parse_entry(const json::object& entry) {
  HubFile file;
  file.path = text_field(entry, "path");
  RETURN_IF_ERROR(check_file_name(file.path));
  const json::value* lfs = field(entry, "lfs");
  file.lfs = lfs != nullptr && lfs->is_object();
  const json::object& source = file.lfs ? lfs->get_object() : entry;
  const std::optional<int64_t> size = size_field(source);
  if (!size.has_value()) {
    return data_loss(fmt::format("the hub's file list: {}: size: expected 0 to {} bytes",
                                 shown(file.path), kMaxFileBytes));
  }
  file.size = *size;
  file.etag = text_field(source, "oid");
  const size_t digits = file.lfs ? 64 : 40;
  if (!is_hex(file.etag, digits)) {
    return data_loss(fmt::format("the hub's file list: {}: oid: expected {} hex digits, found '{}'",
                                 shown(file.path), digits, shown(file.etag)));
  }
  return file;
}

bool in_top_folder(std::string_view path) { return path.find('/') == std::string_view::npos; }

bool is_weight_shard(std::string_view path) {
  return path.starts_with("model-") && path.find("-of-") != std::string_view::npos &&
         path.ends_with(".safetensors") && in_top_folder(path);
}

std::string size_in_words(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size >= 1e9 ? fmt::format("{:.2f} GB", size * 1e-9)
                     : fmt::format("{:.1f} MB", size * 1e-6);
}

// "A (1.12 GB), B (...)": the files whose name ends so, a few of them.
std::string names_ending(const std::vector<HubFile>& files, std::string_view end) {
  std::string names;
  size_t count = 0;
  for (const HubFile& file : files) {
    if (!file.path.ends_with(end)) continue;
    if (++count > kMaxNamesInError) continue;
    names += fmt::format("{}{} ({})", count == 1 ? "" : ", ", shown(file.path),
                         size_in_words(file.size));
  }
  if (count > kMaxNamesInError) names += fmt::format(" and {} more", count - kMaxNamesInError);
  return names;
}

Result<std::vector<HubFile>> select_gguf(const std::vector<HubFile>& files,
                                         const std::string& gguf) {
  if (!gguf.ends_with(".gguf")) {
    return invalid_argument(fmt::format("--file {}: expected the name of a .gguf file", gguf));
  }
  for (const HubFile& file : files) {
    if (file.path == gguf) return std::vector<HubFile>{file};
  }
  const std::string names = names_ending(files, ".gguf");
  return not_found(
      fmt::format("--file {}: the repository has no such file; {}", gguf,
                  names.empty() ? std::string("it has no .gguf file at all") : "it has " + names));
}

Status no_weights(const std::vector<HubFile>& files) {
  const std::string gguf = names_ending(files, ".gguf");
  if (!gguf.empty()) {
    return invalid_argument("this repository holds GGUF files; name one with --file: " + gguf);
  }
  const std::string pickles = names_ending(files, ".bin");
  return not_found(fmt::format(
      "this repository has no weights Sparrow reads: no {}, no {}, no "
      ".gguf{}",
      kSingleWeights, kWeightIndex, pickles.empty() ? "" : ". It has pickled weights: " + pickles));
}

}  // namespace

Status check_file_name(std::string_view path) {
  const auto refuse = [&](const char* why) {
    return data_loss(fmt::format("the hub's file list: name '{}': {}", shown(path), why));
  };
  if (path.empty()) return refuse("empty");
  if (path.size() > kMaxPathLength) return refuse("longer than 512 bytes");
  if (std::any_of(path.begin(), path.end(), is_control)) return refuse("holds a control character");
  if (path.find('\\') != std::string_view::npos) return refuse("holds a backslash");
  if (!is_valid_utf8(path)) return refuse("is not UTF-8");
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty()) return refuse("absolute, or a part of it is empty");
    if (part == "." || part == "..") return refuse("leads out of its folder");
    if (part.size() > kMaxPartLength) return refuse("a part is longer than 255 bytes");
    begin = end + 1;
  }
  return ok_status();
}

Status append_file_list(const json::value& page, std::vector<HubFile>& files) {
  if (!page.is_array()) return data_loss("the hub's file list: expected a JSON array");
  for (const json::value& value : page.get_array()) {
    if (!value.is_object()) return data_loss("the hub's file list: expected JSON objects");
    if (text_field(value.get_object(), "type") != "file") continue;
    if (files.size() >= kMaxFiles) {
      return resource_exhausted(
          fmt::format("the hub's file list: more than the limit of {} files", kMaxFiles));
    }
    ASSIGN_OR_RETURN(HubFile file, parse_entry(value.get_object()));
    files.push_back(std::move(file));
  }
  return ok_status();
}

Result<std::vector<HubFile>> select_files(const std::vector<HubFile>& files,
                                          const std::string& gguf) {
  if (!gguf.empty()) return select_gguf(files, gguf);
  const auto has = [&](std::string_view name) {
    return std::any_of(files.begin(), files.end(),
                       [&](const HubFile& file) { return file.path == name; });
  };
  const bool single = has(kSingleWeights);
  if (!has("config.json") || !(single || has(kWeightIndex))) return no_weights(files);
  const bool shards = std::any_of(files.begin(), files.end(),
                                  [](const HubFile& file) { return is_weight_shard(file.path); });
  // The reader takes model.safetensors before an index; other names are other copies or adapters.
  const auto wanted = [&](const std::string& path) {
    if (std::find(std::begin(kSmallFiles), std::end(kSmallFiles), path) != std::end(kSmallFiles)) {
      return true;
    }
    if (single) return path == kSingleWeights;
    if (path == kWeightIndex) return true;
    return shards ? is_weight_shard(path) : in_top_folder(path) && path.ends_with(".safetensors");
  };
  std::vector<HubFile> chosen;
  std::set<std::string> names;
  for (const HubFile& file : files) {
    if (!wanted(file.path)) continue;
    if (!names.insert(file.path).second) {
      return data_loss(fmt::format("the hub's file list names {} twice", file.path));
    }
    chosen.push_back(file);
  }
  std::sort(chosen.begin(), chosen.end(), [](const HubFile& a, const HubFile& b) {
    return std::pair(a.size, std::string_view(a.path)) <
           std::pair(b.size, std::string_view(b.path));
  });
  return chosen;
}

}  // namespace sparrow
