#include "model/files/gguf_header.h"

#include <gtest/gtest.h>

#include <functional>

namespace sparrow {
namespace {

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_string(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out += text;
}

struct Tensor {
  std::string name;
  std::vector<uint64_t> dims;
  uint32_t type;
  uint64_t offset;
};

// A GGUF file whose every number can be made to lie.
struct Parts {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::string pairs;  // encoded
  uint64_t num_pairs = 0;
  std::vector<Tensor> tensors = {{"a", {32, 2}, 8, 0}, {"b", {4}, 0, 96}};
  uint64_t extra_tensors = 0;  // added to the count only
  uint64_t alignment = 32;
  size_t data_bytes = 112;  // 68 of a, padded to 96, and 16 of b

  void pair_u32(std::string_view key, uint32_t value) {
    put_string(pairs, key);
    put<uint32_t>(pairs, 4);
    put(pairs, value);
    ++num_pairs;
  }
  std::string file() const {
    std::string out = magic;
    put(out, version);
    put<uint64_t>(out, tensors.size() + extra_tensors);
    put(out, num_pairs);
    out += pairs;
    for (const Tensor& tensor : tensors) {
      put_string(out, tensor.name);
      put(out, static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t dim : tensor.dims) put(out, dim);
      put(out, tensor.type);
      put(out, tensor.offset);
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + std::string(data_bytes, 'x');
  }
};

Result<GgufHeader> parse(const std::string& file) {
  return GgufHeader::parse(std::as_bytes(std::span(file)), "m.gguf");
}

TEST(GgufHeader, WellFormed_GivesValuesAndPlaces) {
  Parts parts;
  parts.pair_u32("answer", 42);
  put_string(parts.pairs, "names");
  put<uint32_t>(parts.pairs, 9);
  put<uint32_t>(parts.pairs, 8);
  put<uint64_t>(parts.pairs, 2);
  put_string(parts.pairs, "one");
  put_string(parts.pairs, "");
  ++parts.num_pairs;
  const std::string file = parts.file();
  const Result<GgufHeader> header = parse(file);
  ASSERT_TRUE(header.ok()) << header.message();
  EXPECT_EQ(header->get_uint("answer", 0, 100).value(), 42u);
  EXPECT_FALSE(header->get_uint("answer", 0, 41).ok());
  EXPECT_FALSE(header->get_string("answer").ok());
  EXPECT_FALSE(header->get_uint("question", 0, 41).ok());
  EXPECT_EQ(header->get_strings("names").value(), (std::vector<std::string_view>{"one", ""}));
  ASSERT_EQ(header->tensors().size(), 2u);
  EXPECT_EQ(header->tensors()[0].size_bytes, 68u);
  EXPECT_EQ(header->tensors()[1].begin, file.size() - 16);
  EXPECT_EQ(header->tensors()[1].size_bytes, 16u);
}

TEST(GgufHeader, Version2AndOtherAlignments_AreRead) {
  Parts parts;
  parts.version = 2;
  parts.pair_u32("general.alignment", 8);
  parts.alignment = 8;
  parts.tensors[1].offset = 72;
  parts.data_bytes = 88;
  const Result<GgufHeader> header = parse(parts.file());
  EXPECT_TRUE(header.ok()) << header.message();
}

struct BadCase {
  const char* what;
  std::function<void(Parts&)> change;
  const char* expected;
};

TEST(GgufHeader, BadFiles_EndInOneLineThatNamesFileAndFault) {
  auto array = [](Parts& parts, uint32_t type, uint64_t count, const std::string& bytes) {
    put_string(parts.pairs, "list");
    put<uint32_t>(parts.pairs, 9);
    put(parts.pairs, type);
    put(parts.pairs, count);
    parts.pairs += bytes;
    ++parts.num_pairs;
  };
  const BadCase cases[] = {
      {"magic", [](Parts& p) { p.magic = "GGML"; }, "magic"},
      {"version 1", [](Parts& p) { p.version = 1; }, "version"},
      {"version 4", [](Parts& p) { p.version = 4; }, "version"},
      {"big endian", [](Parts& p) { p.version = 0x03000000; }, "big-endian"},
      {"tensor count", [](Parts& p) { p.extra_tensors = 1000; }, "1002 tensors"},
      {"tensor count overflows", [](Parts& p) { p.extra_tensors = ~uint64_t{0} - 2; }, "counts"},
      {"pair count", [](Parts& p) { p.num_pairs = 50000; }, "50000 metadata"},
      {"pair count overflows", [](Parts& p) { p.num_pairs = ~uint64_t{0} / 13 + 1; }, "counts"},
      {"key length",
       [](Parts& p) {
         put<uint64_t>(p.pairs, ~uint64_t{0});
         p.pairs += std::string(16, 'k');
         p.num_pairs = 1;
       },
       "metadata key"},
      {"unknown value type",
       [](Parts& p) {
         put_string(p.pairs, "k");
         put<uint32_t>(p.pairs, 13);
         p.num_pairs = 1;
       },
       "value type 13"},
      {"string length",
       [](Parts& p) {
         put_string(p.pairs, "k");
         put<uint32_t>(p.pairs, 8);
         put<uint64_t>(p.pairs, 1u << 29);
         p.num_pairs = 1;
       },
       "metadata string"},
      {"array count", [&](Parts& p) { array(p, 4, 1u << 20, ""); }, "do not fit"},
      {"array count overflows", [&](Parts& p) { array(p, 10, uint64_t{1} << 61, ""); },
       "do not fit"},
      {"string array count", [&](Parts& p) { array(p, 8, 1u << 20, ""); }, "do not fit"},
      {"array in an array", [&](Parts& p) { array(p, 9, 1, ""); }, "array in an array"},
      {"array of unknown type", [&](Parts& p) { array(p, 77, 1, ""); }, "value type 77"},
      {"duplicate key",
       [](Parts& p) {
         p.pair_u32("k", 1);
         p.pair_u32("k", 1);
       },
       "occurs twice"},
      {"no dimensions", [](Parts& p) { p.tensors[0].dims = {}; }, "0 dimensions"},
      {"five dimensions",
       [](Parts& p) {
         p.tensors[0].dims = {32, 1, 1, 1, 1};
       },
       "5 dimensions"},
      {"dimension 0",
       [](Parts& p) {
         p.tensors[0].dims = {32, 0};
       },
       "dimension 1: found 0"},
      {"dimension 2^63",
       [](Parts& p) {
         p.tensors[0].dims = {32, uint64_t{1} << 63};
       },
       "dimension 1"},
      {"product overflows",
       [](Parts& p) {
         p.tensors[0].dims = {uint64_t{1} << 32, uint64_t{1} << 32};
       },
       "overflows"},
      {"product times block overflows",
       [](Parts& p) {
         p.tensors[0].dims = {uint64_t{1} << 30, uint64_t{1} << 31};
       },
       "overflows"},
      {"half a block",
       [](Parts& p) {
         p.tensors[0].dims = {33, 2};
       },
       "multiple of 32"},
      {"unsupported type", [](Parts& p) { p.tensors[0].type = 23; }, "IQ4_XS"},
      {"type of memory only", [](Parts& p) { p.tensors[0].type = 0x10000; }, "number 65536"},
      {"K rows", [](Parts& p) { p.tensors[0].type = 12; }, "multiple of 256 for q4_k"},
      {"unknown type", [](Parts& p) { p.tensors[0].type = 4000; }, "4000"},
      {"duplicate name", [](Parts& p) { p.tensors[1].name = "a"; }, "occurs twice"},
      {"long name", [](Parts& p) { p.tensors[1].name = std::string(65, 'n'); }, "length 65"},
      {"overlap", [](Parts& p) { p.tensors[1].offset = 64; }, "found 64, expected 96"},
      {"gap", [](Parts& p) { p.tensors[1].offset = 128; }, "found 128, expected 96"},
      {"unaligned offset", [](Parts& p) { p.tensors[1].offset = 68; }, "found 68"},
      {"offset wraps", [](Parts& p) { p.tensors[1].offset = ~uint64_t{0} - 31; }, "offset"},
      {"beyond the file", [](Parts& p) { p.data_bytes = 111; }, "beyond the file"},
      {"huge tensor", [](Parts& p) { p.tensors[1].dims = {uint64_t{1} << 40}; }, "beyond the file"},
      {"alignment 24", [](Parts& p) { p.pair_u32("general.alignment", 24); }, "power of two"},
      {"alignment 0", [](Parts& p) { p.pair_u32("general.alignment", 0); }, "general.alignment"},
      {"alignment 2^31", [](Parts& p) { p.pair_u32("general.alignment", 1u << 31); },
       "general.alignment"},
  };
  for (const BadCase& bad : cases) {
    Parts parts;
    bad.change(parts);
    const Result<GgufHeader> header = parse(parts.file());
    ASSERT_FALSE(header.ok()) << bad.what;
    EXPECT_EQ(header.message().find("m.gguf: "), 0u) << bad.what;
    EXPECT_NE(header.message().find(bad.expected), std::string::npos)
        << bad.what << ": " << header.message();
    EXPECT_EQ(header.message().find('\n'), std::string::npos) << bad.what;
    EXPECT_LT(header.message().size(), 500u) << bad.what;
  }
}

TEST(GgufHeader, TruncatedAtEveryByte_IsRefused) {
  Parts parts;
  parts.pair_u32("general.alignment", 32);
  parts.pair_u32("answer", 42);
  const std::string file = parts.file();
  ASSERT_TRUE(parse(file).ok());
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_FALSE(parse(file.substr(0, length)).ok()) << length;
  }
}

TEST(GgufHeader, IntegersOfEveryWidth_AreNumbers) {
  const std::pair<uint32_t, std::string> values[] = {{0, std::string("\x07", 1)},
                                                     {1, std::string("\x07", 1)},
                                                     {2, std::string("\x07\0", 2)},
                                                     {3, std::string("\x07\0", 2)},
                                                     {4, std::string("\x07\0\0\0", 4)},
                                                     {5, std::string("\x07\0\0\0", 4)},
                                                     {10, std::string("\x07\0\0\0\0\0\0\0", 8)},
                                                     {11, std::string("\x07\0\0\0\0\0\0\0", 8)}};
  for (const auto& [type, bytes] : values) {
    Parts parts;
    put_string(parts.pairs, "n");
    put(parts.pairs, type);
    parts.pairs += bytes;
    parts.num_pairs = 1;
    const std::string file = parts.file();
    const Result<GgufHeader> header = parse(file);
    ASSERT_TRUE(header.ok()) << header.message();
    EXPECT_EQ(header->get_uint("n", 1, 100).value(), 7u) << type;
  }
  Parts negative;
  put_string(negative.pairs, "n");
  put<uint32_t>(negative.pairs, 5);
  put<int32_t>(negative.pairs, -1);
  negative.num_pairs = 1;
  const std::string file = negative.file();
  EXPECT_FALSE(parse(file)->get_uint("n", 0, ~uint64_t{0}).ok());
}

}  // namespace
}  // namespace sparrow
