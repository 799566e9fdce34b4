// Fuzz entry of what a hub may say and a user may type: the first byte chooses a page of a file
// list, a file name, or an id. A name that is accepted stays inside its folder.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tools/pull/file_list.h"
#include "tools/pull/hub_id.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 1u << 15;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Said in our own way, not by the function under test.
void check_stays_inside(std::string_view path) {
  CHECK(!path.empty() && path.front() != '/' && is_valid_utf8(path));
  for (const char c : path) CHECK(static_cast<unsigned char>(c) >= 0x20 && c != '\\' && c != 0x7f);
  const std::string framed = "/" + std::string(path) + "/";
  for (const char* step : {"/../", "/./", "//"}) CHECK(framed.find(step) == std::string::npos);
}

void fuzz_list(std::string_view bytes) {
  const auto page = parse_json(bytes, "list");
  if (!page.ok()) return;
  std::vector<HubFile> files;
  const Status status = append_file_list(*page, files);
  if (!status.ok()) {
    CHECK(!status.message().empty());
    return;
  }
  for (const HubFile& file : files) {
    check_stays_inside(file.path);
    CHECK(file.size >= 0);
    CHECK(is_hex(file.etag) && file.etag.size() == (file.lfs ? 64u : 40u));
  }
  for (const std::string& gguf : {std::string(), files.empty() ? "x.gguf" : files.front().path}) {
    const auto chosen = select_files(files, gguf);
    CHECK(chosen.ok() ? !chosen->empty() : !chosen.message().empty());
  }
}

void fuzz_id(const std::string& typed) {
  const auto id = parse_hub_id(typed);
  if (!id.ok()) {
    CHECK(!id.message().empty());
    return;
  }
  CHECK(is_hub_id(*id));
  CHECK(parse_hub_id(*id).value() == *id);
  CHECK(hub_cache_folder(*id).find('/') == std::string::npos);
  (void)suggest_hub_id(*id);
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > sparrow::kMaxInputBytes) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      sparrow::fuzz_list(bytes);
      break;
    case 1:
      if (sparrow::check_file_name(bytes).ok()) sparrow::check_stays_inside(bytes);
      break;
    default:
      sparrow::fuzz_id(std::string(bytes));
  }
  return 0;
}
