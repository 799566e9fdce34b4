#include "model/files/safetensors_header.h"

#include <gtest/gtest.h>

#include <cstring>

namespace sparrow {
namespace {

std::string file_of(const std::string& json, size_t data_bytes) {
  const uint64_t size = json.size();
  std::string out(reinterpret_cast<const char*>(&size), sizeof size);
  return out + json + std::string(data_bytes, 'x');
}

Result<std::vector<SafetensorsEntry>> parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), "m.safetensors");
}

TEST(SafetensorsHeader, TwoTensors_ComeInFileOrderWithAbsoluteOffsets) {
  // An odd header: every tensor lies at an odd offset, as in the official R1-Distill file.
  std::string json = R"({"__metadata__":{"format":"pt"},)"
                     R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},)"
                     R"("a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}})";
  if (json.size() % 2 == 0) json += ' ';
  const auto entries = parse(file_of(json, 20));
  ASSERT_TRUE(entries.ok()) << entries.message();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*entries)[0].begin, 8 + json.size());
  EXPECT_EQ((*entries)[0].begin % 2, 1u);
  EXPECT_EQ((*entries)[1].begin, 8 + json.size() + 12);
  EXPECT_EQ((*entries)[1].end, 8 + json.size() + 20);
}

TEST(SafetensorsHeader, ScalarsAndEmptyTensors_AreLegal) {
  const auto entries = parse(file_of(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                                     R"("e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}})",
                                     4));
  ASSERT_TRUE(entries.ok()) << entries.message();
  EXPECT_EQ(entries->size(), 2u);
}

struct BadCase {
  const char* what;
  std::string json;
  size_t data_bytes;
  const char* expected;  // part of the message
};

TEST(SafetensorsHeader, BadFiles_EndInOneLineThatNamesFileAndFault) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::string huge = "9223372036854775807";
  const BadCase cases[] = {
      {"not JSON", "hello", 0, "starts with {"},
      {"cut JSON", "{" + a, 8, "incomplete"},
      {"text after", "{" + a + "} x", 8, "after the end"},
      {"gap", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, "start at 0"},
      {"overlap", "{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12,
       "start at 8"},
      {"same range twice", "{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8,
       "start at 8"},
      {"beyond the end", "{" + a + "}", 7, "end within 7"},
      {"bytes left over", "{" + a + "}", 9, "found 9 bytes, expected 8"},
      {"backwards", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "[8, 0]"},
      {"size against shape", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
       "expected 12 bytes"},
      {"product overflows",
       R"({"a":{"dtype":"F32","shape":[)" + huge + "," + huge + R"(],"data_offsets":[0,8]}})", 8,
       "more than 2^64"},
      {"product wraps to the right size",
       R"({"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}})", 8,
       "more than 2^64"},
      {"unknown dtype", R"({"a":{"dtype":"F4","shape":[2],"data_offsets":[0,8]}})", 8, "F4"},
      {"duplicate tensor", "{" + a + "," + a + "}", 8, "occurs twice"},
      {"duplicate field", R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       8, "occurs twice"},
      {"unknown field", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8,
       "unknown field"},
      {"missing field", R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8, "expected the fields"},
      {"negative offset", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8, "-8"},
      {"fraction", R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8, "2.5"},
      {"offset of 2^64",
       R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8, "2^63"},
      {"three offsets", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8, "number"},
      {"one offset", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "two numbers"},
      {"nested array", R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", 8, "array"},
      {"rank 9", R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4,
       "number"},
      {"metadata not a string map", R"({"__metadata__":{"a":{}}})", 0, "object"},
      {"deep nesting", "{\"a\":" + std::string(100000, '['), 0, "near byte"},
      {"control characters in a name", "{\"\\u0001\\n\":1}", 0, "\\u0001\\n"},
  };
  for (const BadCase& bad : cases) {
    const auto entries = parse(file_of(bad.json, bad.data_bytes));
    ASSERT_FALSE(entries.ok()) << bad.what;
    EXPECT_EQ(entries.message().find("m.safetensors: "), 0u) << bad.what;
    EXPECT_NE(entries.message().find(bad.expected), std::string::npos)
        << bad.what << ": " << entries.message();
    EXPECT_EQ(entries.message().find('\n'), std::string::npos) << bad.what;
    EXPECT_LT(entries.message().size(), 500u) << bad.what;
  }
}

TEST(SafetensorsHeader, HeaderSizesThatLie_AreRefused) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}, uint64_t{57}}) {
    std::string file = file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 0);
    std::memcpy(file.data(), &size, sizeof size);
    EXPECT_FALSE(parse(file).ok()) << size;
  }
}

TEST(SafetensorsHeader, TruncatedAtEveryByte_IsRefused) {
  const std::string file = file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  ASSERT_TRUE(parse(file).ok());
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_FALSE(parse(file.substr(0, length)).ok()) << length;
  }
}

}  // namespace
}  // namespace sparrow
