#include "tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>

namespace sparrow {
namespace {

// A window may take this many steps a byte before the match is tried again with more.
constexpr size_t kStepsPerWindowByte = 4;
constexpr size_t kWindowGrowth = 8;
// An honest pattern retries only for a word longer than the window, and then pays at most
// kWindowGrowth^2 window bytes a byte of that word; this is that with room.
constexpr size_t kBudgetPerTextByte = 128;
constexpr size_t kBudgetBase = 1u << 20;
constexpr uint32_t kMaxMatchSteps = 1u << 30;
constexpr uint32_t kMaxHeapKib = 64u << 10;  // of the interpreter's backtracking memory
constexpr uint32_t kMaxParenthesesDepth = 100;

struct CodeFree {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct CompileContextFree {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct MatchContextFree {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct MatchDataFree {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

PCRE2_SPTR code_units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

struct SplitPattern::Impl {
  std::unique_ptr<pcre2_code, CodeFree> code;
  bool jit = false;
  size_t first_window_bytes = 0;
};

struct SplitPattern::Splitter::Memory {
  std::unique_ptr<pcre2_match_data, MatchDataFree> data;
  std::unique_ptr<pcre2_match_context, MatchContextFree> context;
};

Result<SplitPattern> SplitPattern::compile(std::string_view pattern,
                                           const SplitPatternOptions& options) {
  const std::unique_ptr<pcre2_compile_context, CompileContextFree> context(
      pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr);
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  pcre2_set_parens_nest_limit(context.get(), kMaxParenthesesDepth);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Anchored: the search for the next match is ours, so that each try is bounded.
  const uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C;
  auto impl = std::make_unique<Impl>();
  impl->code.reset(
      pcre2_compile(code_units(pattern), pattern.size(), flags, &error, &offset, context.get()));
  if (impl->code == nullptr) {
    PCRE2_UCHAR reason[256] = {};
    pcre2_get_error_message(error, reason, sizeof(reason));
    return invalid_argument(fmt::format("the split pattern does not compile at byte {}: {}", offset,
                                        reinterpret_cast<const char*>(reason)));
  }
  // JIT may be missing from the library or forbidden on the machine: the interpreter does it then.
  impl->jit = options.use_jit &&
              pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
  impl->first_window_bytes = std::max<size_t>(options.first_window_bytes, 8);
  return SplitPattern(std::move(impl));
}

SplitPattern::SplitPattern(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

bool SplitPattern::uses_jit() const { return impl_->jit; }

SplitPattern::Splitter::Splitter(const SplitPattern& pattern)
    : pattern_(&pattern), memory_(std::make_unique<Memory>()) {
  memory_->data.reset(pcre2_match_data_create(1, nullptr));
  memory_->context.reset(pcre2_match_context_create(nullptr));
  CHECK(memory_->data != nullptr && memory_->context != nullptr);
  pcre2_set_heap_limit(memory_->context.get(), kMaxHeapKib);
}

SplitPattern::Splitter::~Splitter() = default;

void SplitPattern::Splitter::start(std::string_view text) {
  text_ = text;
  word_begin_ = pending_begin_ = pending_end_ = search_from_ = 0;
  budget_ = kBudgetBase + text.size() * kBudgetPerTextByte;
  gave_up_ = false;
}

std::string_view SplitPattern::Splitter::next_word() {
  while (true) {
    if (pending_end_ > word_begin_) {
      // The gap before the match first, when there is one.
      const size_t end = pending_begin_ > word_begin_ ? pending_begin_ : pending_end_;
      const std::string_view word = text_.substr(word_begin_, end - word_begin_);
      word_begin_ = end;
      return word;
    }
    size_t begin = 0;
    size_t end = 0;
    bool found = false;
    while (search_from_ < text_.size() && !gave_up_) {
      found = find_match(search_from_, begin, end);
      if (found) break;
      do {
        ++search_from_;
      } while (search_from_ < text_.size() && !starts_character(text_[search_from_]));
    }
    if (!found) {
      const std::string_view rest = text_.substr(word_begin_);
      word_begin_ = search_from_ = text_.size();
      return rest;
    }
    if (end > begin) {
      pending_begin_ = begin;
      pending_end_ = end;
      search_from_ = end;
      continue;
    }
    // An empty match makes no word but cuts the gap around it.
    do {
      ++search_from_;
    } while (search_from_ < text_.size() && !starts_character(text_[search_from_]));
    if (begin > word_begin_) {
      const std::string_view gap = text_.substr(word_begin_, begin - word_begin_);
      word_begin_ = begin;
      return gap;
    }
  }
}

// Tries a match that starts at `at`, with growing windows. Sets gave_up_ when the budget ends.
bool SplitPattern::Splitter::find_match(size_t at, size_t& begin, size_t& end) {
  const Impl& pattern = *pattern_->impl_;
  pcre2_match_data* data = memory_->data.get();
  pcre2_match_context* context = memory_->context.get();
  size_t window = pattern.first_window_bytes;
  bool jit = pattern.jit;
  while (true) {
    size_t text_end = text_.size();
    if (window < text_end - at) {
      text_end = at + window;
      while (!starts_character(text_[text_end])) --text_end;
    }
    const uint32_t partial = text_end == text_.size() ? 0u : PCRE2_PARTIAL_HARD;
    pcre2_set_match_limit(context, static_cast<uint32_t>(std::min<size_t>(
                                       window * kStepsPerWindowByte, kMaxMatchSteps)));
    const int result =
        jit ? pcre2_jit_match(pattern.code.get(), code_units(text_), text_end, at, partial, data,
                              context)
            : pcre2_match(pattern.code.get(), code_units(text_), text_end, at,
                          partial | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
    if (result >= 0) {
      const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data);
      begin = std::max<size_t>(offsets[0], at);
      end = std::max<size_t>(offsets[1], begin);
      return true;
    }
    if (result == PCRE2_ERROR_NOMATCH) return false;
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      jit = false;  // the interpreter keeps its backtracking on the heap
    } else if (result != PCRE2_ERROR_PARTIAL && result != PCRE2_ERROR_MATCHLIMIT) {
      gave_up_ = true;  // heap limit or another resource of PCRE2
      return false;
    }
    window *= kWindowGrowth;
    if (window > budget_) {
      gave_up_ = true;
      return false;
    }
    budget_ -= window;
  }
}

}  // namespace sparrow
