#include <fmt/format.h>

#include <array>
#include <bit>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "model/files/byte_reader.h"
#include "model/files/checked_size.h"
#include "model/files/gguf_header.h"
#include "model/files/printable.h"

namespace sparrow {
namespace {

constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 64;
constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMaxAlignment = 1u << 16;
constexpr uint64_t kMaxPairs = 1u << 16;
constexpr uint64_t kMaxTensors = 1u << 16;
// Smallest possible entries: an empty key with a one-byte value; an empty name with one dimension.
constexpr uint64_t kMinPairBytes = 8 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;

// Bytes of one scalar; 0 for strings, arrays and unknown types.
uint64_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    default:
      return 0;
  }
}

// Names of the types we know of but do not read, so that a refusal is by name.
std::string ggml_type_name(uint32_t id) {
  constexpr std::array<std::pair<uint32_t, std::string_view>, 17> kNames = {{{9, "Q8_1"},
                                                                             {15, "Q8_K"},
                                                                             {16, "IQ2_XXS"},
                                                                             {17, "IQ2_XS"},
                                                                             {18, "IQ3_XXS"},
                                                                             {19, "IQ1_S"},
                                                                             {21, "IQ3_S"},
                                                                             {22, "IQ2_S"},
                                                                             {23, "IQ4_XS"},
                                                                             {24, "I8"},
                                                                             {28, "F64"},
                                                                             {29, "IQ1_M"},
                                                                             {34, "TQ1_0"},
                                                                             {35, "TQ2_0"},
                                                                             {39, "MXFP4"},
                                                                             {40, "NVFP4"},
                                                                             {41, "Q1_0"}}};
  for (const auto& [known, name] : kNames) {
    if (known == id) return std::string(name);
  }
  return fmt::format("number {}", id);
}

}  // namespace

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> file, const std::string& path)
      : file_(file), path_(path), reader_(file, path) {}

  Result<GgufHeader> parse() {
    header_.path_ = path_;
    RETURN_IF_ERROR(read_counts());
    for (uint64_t i = 0; i < num_pairs_; ++i) RETURN_IF_ERROR(read_pair());
    RETURN_IF_ERROR(read_alignment());
    header_.tensors_.reserve(num_tensors_);
    for (uint64_t i = 0; i < num_tensors_; ++i) RETURN_IF_ERROR(read_tensor());
    RETURN_IF_ERROR(place_tensors());
    return std::move(header_);
  }

 private:
  Status read_counts() {
    ASSIGN_OR_RETURN(const uint32_t magic, reader_.read<uint32_t>("magic"));
    if (magic != 0x46554747u) return data_loss(path_ + ": magic: expected \"GGUF\"");
    ASSIGN_OR_RETURN(const uint32_t version, reader_.read<uint32_t>("version"));
    if ((version & 0xffffu) == 0) {
      return unimplemented(path_ + ": version: the file is big-endian, expected little-endian");
    }
    if (version != 2 && version != 3) {
      return unimplemented(fmt::format("{}: version: found {}, expected 2 or 3", path_, version));
    }
    ASSIGN_OR_RETURN(num_tensors_, reader_.read<uint64_t>("tensor count"));
    ASSIGN_OR_RETURN(num_pairs_, reader_.read<uint64_t>("metadata count"));
    if (num_tensors_ > kMaxTensors || num_pairs_ > kMaxPairs) {
      return data_loss(
          fmt::format("{}: counts: found {} tensors and {} metadata pairs, expected "
                      "at most {} each",
                      path_, num_tensors_, num_pairs_, kMaxTensors));
    }
    const CheckedSize needed =
        CheckedSize(num_tensors_) * kMinTensorBytes + CheckedSize(num_pairs_) * kMinPairBytes;
    if (!needed.at_most(reader_.remaining())) {
      return data_loss(
          fmt::format("{}: counts: {} tensors and {} metadata pairs do not fit into "
                      "the {} bytes left",
                      path_, num_tensors_, num_pairs_, reader_.remaining()));
    }
    return ok_status();
  }

  Status read_pair() {
    ASSIGN_OR_RETURN(const std::string_view key, reader_.read_string("metadata key", kMaxKeyBytes));
    ASSIGN_OR_RETURN(const uint32_t type, reader_.read<uint32_t>("metadata type"));
    GgufValue value;
    value.type = static_cast<GgufType>(type);
    if (value.type == GgufType::kString) {
      ASSIGN_OR_RETURN(const std::string_view text,
                       reader_.read_string("metadata string", kMaxStringBytes));
      value.bytes = std::as_bytes(std::span(text));
    } else if (value.type == GgufType::kArray) {
      RETURN_IF_ERROR(read_array(key, value));
    } else {
      const uint64_t bytes = scalar_bytes(value.type);
      if (bytes == 0) return unknown_type(key, type);
      ASSIGN_OR_RETURN(value.bytes, reader_.read_bytes(bytes, "metadata value"));
    }
    if (!header_.values_.emplace(key, value).second) {
      return data_loss(fmt::format("{}: metadata key {} occurs twice", path_, printable(key)));
    }
    return ok_status();
  }

  Status read_array(std::string_view key, GgufValue& value) {
    ASSIGN_OR_RETURN(const uint32_t type, reader_.read<uint32_t>("array type"));
    ASSIGN_OR_RETURN(value.count, reader_.read<uint64_t>("array count"));
    value.element_type = static_cast<GgufType>(type);
    if (value.element_type == GgufType::kArray) {
      return data_loss(
          fmt::format("{}: metadata key {}: an array in an array", path_, printable(key)));
    }
    const bool strings = value.element_type == GgufType::kString;
    const uint64_t element_bytes = strings ? sizeof(uint64_t) : scalar_bytes(value.element_type);
    if (element_bytes == 0) return unknown_type(key, type);
    const CheckedSize needed = CheckedSize(value.count) * element_bytes;
    if (!needed.at_most(reader_.remaining())) {
      return data_loss(
          fmt::format("{}: metadata key {}: {} elements do not fit into the {} bytes "
                      "left",
                      path_, printable(key), value.count, reader_.remaining()));
    }
    if (!strings) {
      ASSIGN_OR_RETURN(value.bytes, reader_.read_bytes(needed.value(), "array"));
      return ok_status();
    }
    const uint64_t begin = reader_.offset();
    for (uint64_t i = 0; i < value.count; ++i) {
      RETURN_IF_ERROR(reader_.read_string("array string", kMaxStringBytes).status());
    }
    value.bytes = file_.subspan(begin, reader_.offset() - begin);
    return ok_status();
  }

  Status read_alignment() {
    if (!header_.contains("general.alignment")) return ok_status();
    ASSIGN_OR_RETURN(alignment_, header_.get_uint("general.alignment", 1, kMaxAlignment));
    if (!std::has_single_bit(alignment_)) {
      return data_loss(fmt::format("{}: general.alignment: found {}, expected a power of two",
                                   path_, alignment_));
    }
    return ok_status();
  }

  Status read_tensor() {
    ASSIGN_OR_RETURN(const std::string_view name,
                     reader_.read_string("tensor name", kMaxNameBytes));
    GgufTensor tensor;
    tensor.name = std::string(name);
    ASSIGN_OR_RETURN(const uint32_t num_dims, reader_.read<uint32_t>("tensor dimensions"));
    if (num_dims < 1 || num_dims > kMaxDims) {
      return bad_tensor(name, fmt::format("found {} dimensions, expected 1 to 4", num_dims));
    }
    CheckedSize elements(1);
    for (uint32_t i = 0; i < num_dims; ++i) {
      ASSIGN_OR_RETURN(const uint64_t dim, reader_.read<uint64_t>("tensor dimension"));
      if (dim < 1 || dim >= uint64_t{1} << 62) {
        return bad_tensor(name, fmt::format("dimension {}: found {}, expected at least 1", i, dim));
      }
      tensor.dims.push_back(static_cast<int64_t>(dim));
      elements = elements * dim;
    }
    ASSIGN_OR_RETURN(const uint32_t type, reader_.read<uint32_t>("tensor type"));
    const std::optional<TensorType> known = tensor_type_from_ggml_id(type);
    if (!known.has_value()) {
      return unimplemented(fmt::format("{}: tensor {}: type {} is not supported; supported: {}",
                                       path_, printable(name), ggml_type_name(type),
                                       ggml_type_names()));
    }
    tensor.type = *known;
    ASSIGN_OR_RETURN(tensor.begin, reader_.read<uint64_t>("tensor offset"));
    const TensorTypeInfo& info = tensor_type_info(tensor.type);
    if (tensor.dims[0] % info.block_elements != 0) {
      return bad_tensor(name, fmt::format("row length: found {}, expected a multiple of {} for {}",
                                          tensor.dims[0], info.block_elements, info.name));
    }
    // Exact: whole rows are whole blocks.
    const CheckedSize bytes = elements * static_cast<uint64_t>(info.block_bytes);
    if (!bytes.valid()) return bad_tensor(name, "its size overflows 64 bits");
    tensor.size_bytes = bytes.value() / static_cast<uint64_t>(info.block_elements);
    if (!names_.insert(tensor.name).second) return bad_tensor(name, "the name occurs twice");
    header_.tensors_.push_back(std::move(tensor));
    return ok_status();
  }

  // Offsets become positions in the file: contiguous, so nothing overlaps.
  Status place_tensors() {
    const CheckedSize data_begin = CheckedSize(reader_.offset()).rounded_up(alignment_);
    CheckedSize expected(0);
    for (GgufTensor& tensor : header_.tensors_) {
      if (!expected.equals(tensor.begin)) {
        return bad_tensor(tensor.name, fmt::format("offset: found {}, expected {}", tensor.begin,
                                                   expected.valid() ? expected.value() : 0));
      }
      const CheckedSize begin = data_begin + tensor.begin;
      const CheckedSize end = begin + tensor.size_bytes;
      if (!end.at_most(file_.size())) {
        return bad_tensor(tensor.name,
                          fmt::format("offset {} and size {} lie beyond the file's {} bytes",
                                      tensor.begin, tensor.size_bytes, file_.size()));
      }
      expected = (CheckedSize(tensor.begin) + tensor.size_bytes).rounded_up(alignment_);
      tensor.begin = begin.value();
    }
    return ok_status();
  }

  Status bad_tensor(std::string_view name, const std::string& what) const {
    return data_loss(fmt::format("{}: tensor {}: {}", path_, printable(name), what));
  }
  Status unknown_type(std::string_view key, uint32_t type) const {
    return data_loss(fmt::format("{}: metadata key {}: found value type {}, expected 0 to 12",
                                 path_, printable(key), type));
  }

  const std::span<const std::byte> file_;
  const std::string path_;
  ByteReader reader_;
  GgufHeader header_;
  uint64_t num_tensors_ = 0, num_pairs_ = 0;
  uint64_t alignment_ = 32;
  std::unordered_set<std::string> names_;
};

Result<GgufHeader> GgufHeader::parse(std::span<const std::byte> file, const std::string& path) {
  return GgufParser(file, path).parse();
}

}  // namespace sparrow
