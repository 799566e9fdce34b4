#include "tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace sparrow {
namespace {

using CodePoint = utf8proc_int32_t;

constexpr CodePoint kNumCodePoints = 0x110000;
constexpr CodePoint kFirstUnsafe = 0x300;  // below, every character is normalized and a starter
constexpr int kMaxDecomposition = 32;      // longest canonical decomposition is 4 (Unicode 15)

bool is_starter(CodePoint c) { return utf8proc_get_property(c)->combining_class == 0; }

// Full canonical decomposition of one character, not reordered.
int decompose(CodePoint c, CodePoint (&out)[kMaxDecomposition]) {
  int last_boundary = 0;
  const auto count =
      utf8proc_decompose_char(c, out, kMaxDecomposition, UTF8PROC_DECOMPOSE, &last_boundary);
  CHECK(count >= 0 && count <= kMaxDecomposition);
  return static_cast<int>(count);
}

void append_utf8(CodePoint c, std::string& out) {
  utf8proc_uint8_t bytes[4];
  const auto len = utf8proc_encode_char(c, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(len));
}

// Bit per code point: set when the character is a starter with NFC_Quick_Check=Yes. A text of only
// such characters is normalized, and a stretch may be cut before each (UAX 15, sections 9 and 13).
class SafeSet {
 public:
  SafeSet() : bits_(kNumCodePoints / 64, ~uint64_t{0}) {
    for (CodePoint c = 0; c < kNumCodePoints; ++c) {
      const utf8proc_property_t* property = utf8proc_get_property(c);
      if (property->combining_class != 0) remove(c);
      const bool is_hangul = c >= 0xAC00 && c <= 0xD7A3;  // decomposed by arithmetic
      if (property->decomp_type == 0 && (property->decomp_seqindex != UINT16_MAX || is_hangul)) {
        take_decomposition(c);
      }
    }
  }
  bool contains(CodePoint c) const { return bits_[size_t(c) / 64] >> (size_t(c) % 64) & 1; }

 private:
  void remove(CodePoint c) { bits_[size_t(c) / 64] &= ~(uint64_t{1} << (size_t(c) % 64)); }

  // What follows in a decomposition may combine with what stands before it (Quick_Check=Maybe); a
  // character that its decomposition does not compose to again is Quick_Check=No.
  void take_decomposition(CodePoint c) {
    CodePoint parts[kMaxDecomposition];
    const int count = decompose(c, parts);
    if (count == 1 && parts[0] == c) return;
    for (int i = 1; i < count; ++i) remove(parts[i]);
    const auto composed = utf8proc_normalize_utf32(
        parts, count, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (composed != 1 || parts[0] != c) remove(c);
  }

  std::vector<uint64_t> bits_;
};

const SafeSet& safe_set() {
  static const SafeSet set;
  return set;
}

// Decodes the character at `at` of valid UTF-8 and moves past it.
CodePoint next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return CodePoint(static_cast<unsigned char>(text[i])); };
  const CodePoint first = byte(at);
  if (first < 0x80) return at += 1, first;
  if (first < 0xE0) {
    at += 2;
    return (first & 0x1F) << 6 | (byte(at - 1) & 0x3F);
  }
  if (first < 0xF0) {
    at += 3;
    return (first & 0x0F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
  }
  at += 4;
  return (first & 0x07) << 18 | (byte(at - 3) & 0x3F) << 12 | (byte(at - 2) & 0x3F) << 6 |
         (byte(at - 1) & 0x3F);
}

bool is_safe(CodePoint c) { return c < kFirstUnsafe || safe_set().contains(c); }

// Offset of the first character that is not safe, or of the end; `last_safe` is the start of the
// last safe character before it (or `from`).
size_t find_unsafe(std::string_view text, size_t from, size_t& last_safe) {
  size_t at = from;
  last_safe = from;
  while (at < text.size()) {
    const size_t start = at;
    if (!is_safe(next_code_point(text, at))) return start;
    last_safe = start;
  }
  return at;
}

void append_normalized(std::string_view stretch, std::vector<CodePoint>& work, std::string& out) {
  work.clear();
  CodePoint parts[kMaxDecomposition];
  for (size_t at = 0; at < stretch.size();) {
    const int count = decompose(next_code_point(stretch, at), parts);
    work.insert(work.end(), parts, parts + count);
  }
  // Canonical ordering: each run of non-starters by combining class, otherwise in place.
  for (auto begin = work.begin(); begin != work.end();) {
    begin = std::find_if_not(begin, work.end(), is_starter);
    const auto end = std::find_if(begin, work.end(), is_starter);
    std::stable_sort(begin, end, [](CodePoint a, CodePoint b) {
      return utf8proc_get_property(a)->combining_class < utf8proc_get_property(b)->combining_class;
    });
    begin = end;
  }
  const auto count =
      utf8proc_normalize_utf32(work.data(), static_cast<utf8proc_ssize_t>(work.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  CHECK(count >= 0 && static_cast<size_t>(count) <= work.size());
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) append_utf8(work[i], out);
}

}  // namespace

std::string_view to_nfc(std::string_view text, std::string& buffer) {
  size_t last_safe = 0;
  size_t unsafe = find_unsafe(text, 0, last_safe);
  if (unsafe == text.size()) return text;

  buffer.clear();
  buffer.reserve(text.size() + text.size() / 8);
  std::vector<CodePoint> work;
  size_t copied = 0;
  while (unsafe < text.size()) {
    // The stretch: from the last safe character, which may take marks, up to the next safe one.
    size_t end = unsafe;
    while (end < text.size()) {
      size_t next = end;
      if (is_safe(next_code_point(text, next))) break;
      end = next;
    }
    buffer.append(text, copied, last_safe - copied);
    append_normalized(text.substr(last_safe, end - last_safe), work, buffer);
    copied = end;
    unsafe = find_unsafe(text, end, last_safe);
  }
  buffer.append(text, copied, text.size() - copied);
  return buffer;
}

}  // namespace sparrow
