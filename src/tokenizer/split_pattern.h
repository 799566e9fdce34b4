#pragma once
// SplitPattern: cuts text into words with the regular expression of tokenizer.json, behaviour
// "Isolated": every match is a word, and so is what stands between two matches. PCRE2 with UTF and
// UCP, compiled by its JIT where the machine allows it. Immutable after compile(); thread-safe.
//
// Bounded work: a match first sees only a window of the text and a step limit in proportion. Only a
// match that needs more gets a larger window (PCRE2's partial matching tells), paid from a budget
// in proportion to the text. When the budget ends, which takes a pattern made for it, the rest of
// the text is one word: still correct to decode, never a hang.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sparrow {

struct SplitPatternOptions {
  bool use_jit = true;
  size_t first_window_bytes = 256;  // tests make it small to see every border
};

class SplitPattern {
 public:
  static constexpr size_t kMaxPatternBytes = 64u << 10;

  // Error: the pattern does not compile; names the offset and PCRE2's reason.
  static Result<SplitPattern> compile(std::string_view pattern,
                                      const SplitPatternOptions& options = {});
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  bool uses_jit() const;

  // Finds the words of one text after the other with one set of PCRE2's working memory. One thread;
  // must not outlive the pattern.
  class Splitter {
   public:
    explicit Splitter(const SplitPattern& pattern);
    ~Splitter();
    Splitter(const Splitter&) = delete;
    Splitter& operator=(const Splitter&) = delete;

    // `text` must be valid UTF-8 and live until the last next_word().
    void start(std::string_view text);
    // The next word; empty at the end. The words of a text joined are the text.
    std::string_view next_word();
    // The budget of this text ended and its rest was one word.
    bool gave_up() const { return gave_up_; }

   private:
    bool find_match(size_t at, size_t& begin, size_t& end);

    struct Memory;
    const SplitPattern* pattern_;
    std::unique_ptr<Memory> memory_;
    std::string_view text_;
    size_t word_begin_ = 0;     // everything before has been handed out
    size_t pending_begin_ = 0;  // a match found behind a gap, handed out next
    size_t pending_end_ = 0;
    size_t search_from_ = 0;
    size_t budget_ = 0;  // window bytes that may still be spent on larger windows
    bool gave_up_ = false;
  };

 private:
  struct Impl;
  explicit SplitPattern(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparrow
