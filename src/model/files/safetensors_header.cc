#include "model/files/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "model/files/byte_reader.h"
#include "model/files/checked_size.h"
#include "model/files/printable.h"
#include "model/files/safetensors_json.h"

namespace sparrow {
namespace {

struct DtypeBytes {
  std::string_view name;
  uint64_t bytes;
};

// Dtypes whose size we know: enough to check a file's layout. Which of them a weight may have is
// decided where the weight is used.
constexpr std::array<DtypeBytes, 14> kDtypes = {{{"BF16", 2},
                                                 {"F16", 2},
                                                 {"F32", 4},
                                                 {"F64", 8},
                                                 {"I8", 1},
                                                 {"U8", 1},
                                                 {"I16", 2},
                                                 {"U16", 2},
                                                 {"I32", 4},
                                                 {"U32", 4},
                                                 {"I64", 8},
                                                 {"U64", 8},
                                                 {"BOOL", 1},
                                                 {"F8_E4M3", 1}}};

std::optional<uint64_t> dtype_bytes(std::string_view name) {
  for (const DtypeBytes& dtype : kDtypes) {
    if (dtype.name == name) return dtype.bytes;
  }
  return std::nullopt;
}

// Size of one entry against its dtype and shape.
Status check_size(const SafetensorsEntry& entry, const std::string& path) {
  const std::optional<uint64_t> element_bytes = dtype_bytes(entry.dtype);
  if (!element_bytes.has_value()) {
    return unimplemented(
        fmt::format("{}: tensor {}: dtype {} is not supported; supported weights: "
                    "BF16, F16, F32",
                    path, printable(entry.name), printable(entry.dtype)));
  }
  CheckedSize expected(*element_bytes);
  for (const int64_t dim : entry.shape) expected = expected * static_cast<uint64_t>(dim);
  if (entry.end < entry.begin || !expected.equals(entry.end - entry.begin)) {
    return data_loss(fmt::format(
        "{}: tensor {}: data_offsets: found [{}, {}], expected {} bytes for {} of shape [{}]", path,
        printable(entry.name), entry.begin, entry.end,
        expected.valid() ? std::to_string(expected.value()) : "more than 2^64", entry.dtype,
        fmt::join(entry.shape, ", ")));
  }
  return ok_status();
}

}  // namespace

Result<std::vector<SafetensorsEntry>> parse_safetensors_header(std::span<const std::byte> file,
                                                               const std::string& path) {
  ByteReader reader(file, path);
  ASSIGN_OR_RETURN(const uint64_t header_bytes, reader.read<uint64_t>("header size"));
  if (header_bytes > kMaxSafetensorsHeaderBytes) {
    return data_loss(fmt::format("{}: header size: found {}, expected at most {}", path,
                                 header_bytes, kMaxSafetensorsHeaderBytes));
  }
  ASSIGN_OR_RETURN(const std::span<const std::byte> header,
                   reader.read_bytes(header_bytes, "header"));
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  if (text.empty() || text[0] != '{') {
    return data_loss(fmt::format("{}: header: expected JSON that starts with {{", path));
  }
  ASSIGN_OR_RETURN(std::vector<SafetensorsEntry> entries, parse_safetensors_json(text, path));

  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  const uint64_t data_begin = reader.offset();
  const uint64_t data_bytes = reader.remaining();
  uint64_t expected_begin = 0;
  for (SafetensorsEntry& entry : entries) {
    RETURN_IF_ERROR(check_size(entry, path));
    if (entry.begin != expected_begin || entry.end > data_bytes) {
      return data_loss(fmt::format(
          "{}: tensor {}: data_offsets: found [{}, {}], expected to start at {} and "
          "end within {} bytes of data",
          path, printable(entry.name), entry.begin, entry.end, expected_begin, data_bytes));
    }
    expected_begin = entry.end;
    entry.begin = (CheckedSize(entry.begin) + data_begin).value();
    entry.end = (CheckedSize(entry.end) + data_begin).value();
  }
  if (expected_begin != data_bytes) {
    return data_loss(fmt::format("{}: data: found {} bytes, expected {} as the header says", path,
                                 data_bytes, expected_begin));
  }
  return entries;
}

}  // namespace sparrow
