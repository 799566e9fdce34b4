#include "workload.h"

#include <algorithm>

#include "engine/test_support.h"

namespace sparrow {
namespace {

FakeExecutorOptions make_executor(SeededRandom& random) {
  FakeExecutorOptions fake;
  fake.limits.block_tokens = random.pick({1, 4, 4, 16});
  fake.limits.max_context_tokens = random.between(16, 160);
  // From less than one full sequence to plenty.
  const int blocks_of_one = fake.limits.max_context_tokens / fake.limits.block_tokens + 1;
  fake.limits.num_blocks = random.between(2, random.chance(700) ? 2 * blocks_of_one : 400);
  fake.limits.num_slots = random.between(1, 12);
  fake.limits.max_batch_tokens = random.between(1, 128);
  fake.limits.vocab_size = kTestVocab;
  fake.fixed_ms = random.between(0, 40);
  fake.row_ms = random.between(1, 40) * 0.1;
  if (random.chance(600)) {
    fake.first_token = 'a';
    fake.num_tokens = random.between(2, 5);  // few letters: stop strings are hit
  } else {
    fake.num_tokens = 256;  // any bytes: broken UTF-8 everywhere
  }
  fake.eos_token = random.pick({TokenId{-1}, kEos, kThinkEnd, kThinkStart});
  fake.eos_per_mille = random.between(5, 100);
  return fake;
}

EngineOptions make_engine(SeededRandom& random) {
  EngineOptions options;
  options.max_num_seqs = random.between(1, 16);
  options.max_num_batched_tokens = random.between(1, 200);
  options.max_step_ms = random.pick({5.0, 30.0, 250.0});
  if (random.chance(300)) options.max_num_queued_reqs = random.between(1, 20);
  if (random.chance(200)) options.inbox_capacity = static_cast<size_t>(random.between(1, 8));
  // A breaker that opened stays open for the rest of the run: no probe.
  options.breaker.cooldown_ms = options.breaker.max_cooldown_ms = 1e9;
  return options;
}

// Some machines guess, and some texts are worth it: often a token is the one a period before.
void add_speculation(SeededRandom& random, Workload& workload) {
  if (random.chance(300)) return;
  SpeculationOptions& speculation = workload.engine.speculation;
  speculation.max_tokens = random.between(1, 12);
  speculation.min_ngram = random.between(1, 3);
  speculation.max_ngram = random.between(speculation.min_ngram, 5);
  speculation.max_rows = random.pick({2, 16, 16, 200});
  const int repeats_per_mille = random.pick({0, 500, 950, 1000});
  const auto period = static_cast<size_t>(random.between(1, 30));
  const uint64_t text = random.next();
  workload.executor.script = [=](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    if (tokens.size() < period) return std::nullopt;
    const auto last = static_cast<uint64_t>(tokens.back());
    const uint64_t bits = random_bits(text, tokens.size(), last);
    if (bits % 1000 >= static_cast<uint64_t>(repeats_per_mille)) return std::nullopt;
    return tokens[tokens.size() - period];
  };
  for (Arrival& arrival : workload.arrivals) {
    arrival.request.speculative = !random.chance(100);
  }
}

Faults make_faults(SeededRandom& random) {
  Faults faults;
  const auto some = [&](int share, int most) {
    return random.chance(share) ? random.between(1, most) : 0;
  };
  faults.cancel_per_mille = some(600, 300);
  faults.deadline_per_mille = some(400, 500);
  faults.failed_step_per_mille = some(200, 100);
  faults.not_finite_per_mille = some(300, 30);
  faults.slow_step_per_mille = some(200, 50);
  faults.clock_jump_per_mille = some(200, 50);
  faults.duplicate_id_per_mille = some(200, 200);
  faults.too_long_per_mille = some(200, 200);
  faults.drain_per_mille = some(100, 5);
  faults.abort_per_mille = some(100, 5);
  return faults;
}

void add_deadlines(SeededRandom& random, Request& request) {
  const auto later = [&] { return request.arrival + from_ms(random.between(0, 2000)); };
  if (random.chance(400)) request.queue_deadline = later();
  if (random.chance(400)) request.first_token_deadline = later();
  if (random.chance(400)) request.total_deadline = later();
}

std::vector<TokenId> make_prompt(SeededRandom& random, int length) {
  // Many begin alike.
  std::vector<TokenId> prompt = prompt_of(random.chance(500) ? 1 : random.next() % 90, length);
  if (length > 1 && random.chance(500)) prompt.back() = random.between(0, 255);
  return prompt;
}

Request make_request(SeededRandom& random, uint64_t id, int longest) {
  const int prompt_len =
      random.chance(100) ? longest - 1 : random.between(1, std::max(1, longest * 2 / 3));
  Request request = test_request(id, make_prompt(random, std::min(prompt_len, longest - 1)),
                                 random.chance(200) ? 1000 : random.between(1, 60));
  request.sampling.temperature = random.pick({0.0, 1.0});
  request.sampling.seed = random.next() % 3;
  request.num_choices = random.chance(150) ? random.between(2, 4) : 1;
  request.priority = random.chance(200) ? random.between(-1, 1) : 0;
  request.fairness_key = random.pick({"", "", "a", "b"});
  if (random.chance(500)) {
    request.reasoning = {
        .start = kThinkStart, .end = kThinkEnd, .starts_inside = random.chance(500)};
  }
  request.stop.token_ids = {kEos};
  request.stop.ignore_eos = random.chance(200);
  if (random.chance(300)) {
    request.stop.min_tokens = random.between(0, std::min(20, request.stop.max_tokens));
  }
  for (int i = random.chance(400) ? random.between(1, 3) : 0; i > 0; --i) {
    std::string stop;
    for (int n = random.between(1, 6); n > 0; --n) {
      stop += static_cast<char>('a' + random.between(0, 2));
    }
    request.stop.strings.push_back(stop);
  }
  request.stop.include_stop_string = random.chance(300);
  return request;
}

// The first stop string to be complete, the longest of those; text.size() + 1 when there is none.
size_t first_stop_end(const std::string& text, const std::vector<std::string>& stops,
                      size_t& match_len) {
  for (size_t end = 1; end <= text.size(); ++end) {
    match_len = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        match_len = std::max(match_len, stop.size());
      }
    }
    if (match_len > 0) return end;
  }
  return text.size() + 1;
}

}  // namespace

Workload make_workload(uint64_t seed) {
  SeededRandom random(seed);
  Workload workload;
  workload.executor = make_executor(random);
  workload.engine = make_engine(random);
  workload.faults = make_faults(random);
  const ExecutorLimits& limits = workload.executor.limits;
  const int longest =
      std::max(2, std::min(limits.max_context_tokens, limits.num_blocks * limits.block_tokens));
  const int mean_gap_ms = random.pick({0, 5, 100});
  TimePoint at{};
  const int num_requests = random.between(1, 50);
  for (int i = 0; i < num_requests; ++i) {
    if (!random.chance(300)) at += from_ms(random.between(0, 2 * mean_gap_ms));
    Arrival arrival;
    arrival.at = at;
    arrival.request = make_request(random, static_cast<uint64_t>(i) + 1, longest);
    arrival.request.arrival = at;
    if (random.chance(workload.faults.deadline_per_mille)) add_deadlines(random, arrival.request);
    if (random.chance(workload.faults.too_long_per_mille)) {
      arrival.request.prompt.resize(static_cast<size_t>(longest + random.between(0, 100)), 'x');
      arrival.is_refused = true;
    }
    workload.arrivals.push_back(std::move(arrival));
  }
  SeededRandom speculation_random(seed ^ 0xD4AF7);
  add_speculation(speculation_random, workload);
  return workload;
}

Outcome expected_outcome(const Tokenizer& tokenizer, const Request& request,
                         std::span<const TokenId> tokens, int max_tokens) {
  Outcome outcome;
  const ReasoningTokens& marks = request.reasoning;
  bool thinking = marks.starts_inside;
  std::vector<TokenId> segment;  // of one channel
  // Text of the segment so far, cut at a stop string if it is an answer.
  const auto segment_text = [&](bool& stopped) {
    std::string text = tokenizer.decode(segment, request.skip_special_tokens);
    if (thinking) return text;
    size_t match_len = 0;
    const size_t end = first_stop_end(text, request.stop.strings, match_len);
    stopped = end <= text.size();
    if (stopped) text.resize(request.stop.include_stop_string ? end : end - match_len);
    return text;
  };
  std::string open_text;
  const auto close_segment = [&] {
    (thinking ? outcome.reasoning : outcome.answer) += open_text;
    segment.clear();
    open_text.clear();
  };
  int count = 0;
  for (const TokenId id : tokens) {
    ++count;
    const bool is_stop = id == kEos && !request.stop.ignore_eos;
    const bool is_mark = id == marks.start || id == marks.end;
    const bool switches = id == (thinking ? marks.end : marks.start);
    if (thinking || switches) ++outcome.num_reasoning_tokens;
    bool stopped = false;
    if (switches) {
      close_segment();
      thinking = !thinking;
    } else if (!is_stop && !is_mark) {
      segment.push_back(id);
    }
    open_text = segment_text(stopped);
    if (is_stop)
      outcome.finish = FinishReason::kStopToken;
    else if (stopped)
      outcome.finish = FinishReason::kStopString;
    else if (count == request.stop.max_tokens)
      outcome.finish = FinishReason::kMaxTokens;
    else if (count == max_tokens)
      outcome.finish = FinishReason::kContextFull;
    if (outcome.finish != FinishReason::kNone) break;
  }
  close_segment();
  return outcome;
}

}  // namespace sparrow
