// Single rows: every parameter and every kind of logits, beside the CPU's sampler.
#include <limits>

#include "base/random.h"
#include "kernels/cuda/sampling/sampling_test_support.h"

namespace sparrow {
namespace {

// Picks values of a case by its number.
class Chooser {
 public:
  explicit Chooser(uint64_t seed) : seed_(seed) {}
  uint64_t below(uint64_t bound) { return random_bits(seed_, 77, ++count_) % bound; }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  TokenId id(int32_t vocab_size) {
    return static_cast<TokenId>(below(static_cast<uint64_t>(vocab_size)));
  }

 private:
  uint64_t seed_;
  uint64_t count_ = 0;
};

class SamplingRows : public SamplingTest {
 protected:
  Sequence any_sequence(Chooser& chooser) {
    Sequence sequence;
    SamplingParams& params = sequence.params;
    params.temperature = chooser.one_of({0.0, 1e-30, 0.01, 0.7, 1.0, 1.0, 2.0});
    params.top_k = chooser.one_of({0, 0, 0, 1, 2, 20, 50, 3000, vocab_size_, vocab_size_ + 5});
    params.top_p = chooser.one_of({1.0, 1.0, 1e-6, 0.1, 0.8, 0.95, 0.999999});
    params.min_p = chooser.one_of({0.0, 0.0, 0.0, 1e-9, 0.05, 1.0});
    params.repetition_penalty = chooser.one_of({1.0, 1.0, 1.0, 1.1, 0.01, 10.0});
    params.frequency_penalty = chooser.one_of({0.0, 0.0, 0.0, 0.3, -2.0});
    params.presence_penalty = chooser.one_of({0.0, 0.0, 0.0, 1.7, -2.0});
    params.num_top_logprobs = chooser.one_of({-1, -1, 0, 1, 5, 20});
    params.seed = chooser.below(~uint64_t{0});
    params.choice = static_cast<int>(chooser.below(3));
    const auto num_biases = chooser.one_of<size_t>({0, 0, 0, 1, 9, 300});
    for (size_t i = 0; i < num_biases; ++i) {
      params.logit_bias.emplace_back(chooser.id(vocab_size_),
                                     chooser.one_of({-100.f, -1.5f, 4.f, 100.f}));
    }
    std::stable_sort(params.logit_bias.begin(), params.logit_bias.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const auto num_tokens = 1 + chooser.below(40);
    sequence.tokens.clear();
    for (uint64_t i = 0; i < num_tokens; ++i) {
      sequence.tokens.push_back(chooser.id(std::min(vocab_size_, 12)));
    }
    sequence.num_prompt = static_cast<int32_t>(1 + chooser.below(num_tokens));
    if (chooser.below(3) == 0) {
      sequence.min_tokens = static_cast<int32_t>(chooser.below(30));
      sequence.banned = {chooser.id(vocab_size_), chooser.id(vocab_size_), -1, vocab_size_};
    }
    return sequence;
  }

  // Appends a row; some have ties, some one large logit, few are not finite.
  void add_logits(Chooser& chooser, std::vector<float>& logits) {
    const auto vocab = static_cast<size_t>(vocab_size_);
    std::vector<float> row = random_floats(vocab, chooser.below(1 << 30),
                                           chooser.one_of({0.f, 0.3f, 1.f, 3.f, 3.f, 30.f}));
    switch (chooser.below(12)) {
      case 0:
        for (float& value : row) value = std::round(value);  // ties, and zeros of both signs
        break;
      case 1:
        row[chooser.below(vocab)] = std::numeric_limits<float>::max();
        row[chooser.below(vocab)] = std::numeric_limits<float>::lowest();
        break;
      case 2:
        row[chooser.below(vocab)] = chooser.one_of({NAN, INFINITY, -INFINITY, -NAN});
        break;
      case 3:
        for (float& value : row) value += 200.0f;
        break;
      case 4:
        // The largest are zeros of both signs.
        for (float& value : row) value = value > 0 ? 0.0f : std::round(value);
        break;
      default:
        break;
    }
    logits.insert(logits.end(), row.begin(), row.end());
  }

  // Appends a mask; some allow one id, some none.
  void add_mask(Chooser& chooser, std::vector<uint32_t>& masks) {
    std::vector<uint32_t> mask(words_);
    const uint64_t kind = chooser.below(6);
    for (uint32_t& word : mask) {
      const auto random = static_cast<uint32_t>(chooser.below(uint64_t{1} << 32));
      word = kind < 3 ? random : kind == 3 ? ~0u : 0u;
    }
    if (kind == 4) mask[chooser.below(words_)] = 1;
    masks.insert(masks.end(), mask.begin(), mask.end());
  }

  void run_random_rows(int32_t vocab_size, int32_t num_slots, int num_steps, uint64_t seed) {
    Chooser chooser(seed);
    std::vector<TokenId> disallowed;
    if (vocab_size > 40) disallowed = {7, vocab_size / 2, vocab_size - 2, vocab_size - 1};
    open(vocab_size, num_slots, disallowed);
    for (int step_index = 0; step_index < num_steps && !HasFatalFailure(); ++step_index) {
      TestStep step;
      for (int32_t slot = 0; slot < num_slots; ++slot) {
        start(slot, any_sequence(chooser));
        TestSpan span;
        span.slot = slot;
        span.first_position =
            static_cast<int32_t>(sequences_[static_cast<size_t>(slot)]->tokens.size());
        if (chooser.below(4) == 0) {
          span.mask_row = static_cast<int32_t>(step.masks.size() / words_);
          add_mask(chooser, step.masks);
        }
        step.spans.push_back(span);
        add_logits(chooser, step.logits);
      }
      step.num_padding_rows = step_index % 3;
      SCOPED_TRACE("step " + std::to_string(step_index));
      run(step);
    }
  }
};

TEST_P(SamplingRows, AnyParameters_OneToken) { run_random_rows(1, 16, 3, 1); }
TEST_P(SamplingRows, AnyParameters_31Tokens) { run_random_rows(31, 32, 5, 2); }
TEST_P(SamplingRows, AnyParameters_1000Tokens) { run_random_rows(1000, 32, 7, 3); }
TEST_P(SamplingRows, AnyParameters_5003Tokens) { run_random_rows(5003, 32, 6, 4); }
TEST_P(SamplingRows, AnyParameters_QwensVocabulary) { run_random_rows(151936, 8, 1, 5); }

// top_p takes its share of what top_k left, also of what min_p cuts afterwards: here of 8.4, so
// that the second id stays.
TEST_P(SamplingRows, TopKTopPAndMinP_ActInThisOrder) {
  constexpr int32_t kDraws = 32;
  open(40, 1);
  Sequence sequence;
  sequence.params.top_k = 15;
  sequence.params.top_p = 0.2;
  sequence.params.min_p = 0.6;
  start(0, std::move(sequence));
  std::vector<float> row(40, std::log(0.1f));
  row[0] = 0;
  row[1] = std::log(0.9f);
  std::fill(row.begin() + 2, row.begin() + 20, std::log(0.5f));
  TestStep step;
  for (int32_t i = 0; i < kDraws; ++i)
    step.logits.insert(step.logits.end(), row.begin(), row.end());
  step.spans = {{.slot = 0, .first_position = 1, .num_rows = kDraws}};
  const std::vector<TestToken> tokens = run(step);
  const auto num_second = std::count_if(tokens.begin(), tokens.end(),
                                        [](const TestToken& token) { return token.token.id == 1; });
  EXPECT_GT(num_second, 0);
  EXPECT_LT(num_second, kDraws);
}

SPARROW_ON_EVERY_GPU(SamplingRows);

}  // namespace
}  // namespace sparrow
