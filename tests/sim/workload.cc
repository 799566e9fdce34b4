#include "workload.h"

#include <algorithm>
#include <memory>

#include "engine/test_support.h"

namespace sparrow {
namespace {

constexpr uint64_t kMachineStream = 3;
constexpr uint64_t kArrivalStream = 4;
constexpr uint64_t kDoorMachineStream = 7;
constexpr uint64_t kOverlapStream = 8;
constexpr uint64_t kFirstRequestStream = 1'000;

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
  options.seat_patience_ms = random.pick({0.0, 50.0, 500.0, 2'000.0});
  options.prefix.enabled = random.chance(850);
  options.prefix.hash_bits = random.pick({128, 128, 128, 6, 2});
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
}

// Limits small enough to be met by a few requests in some seconds.
DoorOptions make_door(SeededRandom& random, const EngineOptions& engine) {
  DoorOptions door;
  door.is_there = random.chance(700);
  door.prep_capacity = static_cast<size_t>(random.pick({2, 8, 1000}));
  door.num_prepared_per_step = random.pick({1, 4, 1000});
  AdmissionOptions& admission = door.admission;
  admission.max_num_queued_reqs = engine.max_num_queued_reqs;
  admission.max_queue_wait_ms = random.pick({0.0, 200.0, 2'000.0, 60'000.0});
  if (random.chance(400)) admission.key_limits.requests_per_minute = random.between(1, 20);
  if (random.chance(400)) admission.key_limits.tokens_per_minute = random.between(20, 2'000);
  if (random.chance(400)) admission.key_limits.max_concurrent = random.between(1, 5);
  DegradationOptions& ladder = admission.degradation;
  ladder.profile = random.pick({DegradeProfile::kOff, DegradeProfile::kGentle,
                                DegradeProfile::kGentle, DegradeProfile::kArticle});
  ladder.max_level = random.between(1, 4);
  ladder.kv_share = random.pick({0.0, 0.3, 0.9});
  ladder.queue_age_ms = random.pick({0.0, 100.0, 1'000.0});
  ladder.step_ms = random.pick({0.0, 10.0, 100.0});
  ladder.deadline_misses = random.pick({0, 1, 3});
  ladder.message_severity = random.pick({0.0, 3.0, 1.5});
  ladder.refuse_severity = random.pick({0.0, 6.0, 2.0});
  ladder.raise_ms = random.pick({10.0, 100.0, 2'000.0});
  ladder.lower_ms = random.pick({20.0, 200.0, 5'000.0});
  ladder.thinking_budget = random.between(1, 20);
  ladder.max_tokens = random.between(2, 30);
  ladder.answer_reserve = random.between(0, 15);
  if (random.chance(300)) ladder.temperature = 0.5;
  return door;
}

// Makes the requests of one run, one after the other.
class RequestMaker {
 public:
  RequestMaker(uint64_t seed, const FaultPlan& faults, const Workload& workload)
      : seed_(seed),
        faults_(faults),
        longest_(std::max(2, longest_context(workload.executor.limits))),
        model_(workload.executor) {
    SeededRandom random(seed, kMachineStream + 10);
    shared_text_ = static_cast<uint64_t>(random.between(0, 89));
    share_per_mille_ = random.pick({0, 500, 900, 1000});
    num_salts_ = random.pick({1, 1, 2, 3});
    num_tenants_ = random.pick({1, 2, 3, 8});
  }

  Arrival make(size_t tag, TimePoint at, const TraceRow* row) {
    SeededRandom random(seed_, kFirstRequestStream + tag);
    Arrival arrival;
    arrival.at = at;
    Request& request = arrival.request;
    request = test_request(tag + 1, make_prompt(random, row), make_max_tokens(random, row));
    request.arrival = at;
    request.sampling.temperature = random.pick({0.0, 1.0});
    request.sampling.seed = (static_cast<uint64_t>(tag) << kTagShift) + random.next() % 3;
    request.num_choices = random.chance(150) ? random.between(2, 4) : 1;
    request.priority = random.chance(200) ? random.between(-1, 1) : 0;
    request.fairness_key = "tenant" + std::to_string(random.between(1, num_tenants_));
    request.tenant = request.fairness_key;
    request.cache_salt = salt_of(random);
    request.speculative = !random.chance(100);
    request.skip_special_tokens = !random.chance(100);
    add_stop_rules(random, request);
    add_constraint(random, tag, arrival);
    add_deadlines(random, tag, request);
    arrival.shape.thinks = request.reasoning.start >= 0;
    arrival.shape.max_tokens_open = random.chance(500);
    arrival.shape.temperature_open = random.chance(500);
    if (random.chance(200)) arrival.shape.thinking_budget = random.between(-1, 20);
    if (faults_.hits(FaultKind::kInvalidRequest, tag)) spoil(random, arrival);
    if (faults_.hits(FaultKind::kSlowReader, tag)) {
      arrival.reads_bytes_per_step = random.pick({0, 0, 1, 3});
    }
    return arrival;
  }

 private:
  std::string salt_of(SeededRandom& random) const {
    const int salt = random.between(1, num_salts_);
    return salt == 1 ? "" : "salt" + std::to_string(salt);
  }

  int make_max_tokens(SeededRandom& random, const TraceRow* row) const {
    const int any = random.chance(200) ? 1000 : random.between(1, 60);
    return row == nullptr ? any : std::max(1, row->num_output_tokens / 8);
  }

  std::vector<TokenId> make_prompt(SeededRandom& random, const TraceRow* row) {
    int length = random.between(1, std::max(1, longest_ * 2 / 3));
    if (random.chance(100)) length = longest_ - 1;
    if (random.chance(100)) length = 1;
    if (row != nullptr) length = std::max(1, row->num_prompt_tokens / 32);
    length = std::min(length, longest_ - 1);
    std::vector<TokenId> prompt = follow_up(random);
    if (prompt.empty()) {
      const bool shares = random.chance(share_per_mille_);
      prompt = prompt_of(shares ? shared_text_ : random.next() % 90, length);
      if (length > 1 && random.chance(500)) {  // differs somewhere: in the last token, or before
        const int at = random.chance(500) ? length - 1 : random.between(0, length - 1);
        prompt[static_cast<size_t>(at)] = random.between(0, 255);
      }
    }
    spoken_.push_back(prompt);
    return prompt;
  }

  // The next turn of an earlier conversation: its prompt, what a greedy model answered, a question.
  std::vector<TokenId> follow_up(SeededRandom& random) {
    if (spoken_.empty() || !random.chance(share_per_mille_ / 3)) return {};
    std::vector<TokenId> prompt = spoken_[random.next() % spoken_.size()];
    const std::vector<TokenId> answer = model_.expected_tokens(prompt, random.between(1, 30));
    prompt.insert(prompt.end(), answer.begin(), answer.end());
    for (int i = random.between(0, 8); i > 0; --i) prompt.push_back(random.between(0, 255));
    if (prompt.size() >= static_cast<size_t>(longest_)) return {};
    return prompt;
  }

  static void add_stop_rules(SeededRandom& random, Request& request) {
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
  }

  void add_constraint(SeededRandom& random, size_t tag, Arrival& arrival) const {
    const bool is_dead = faults_.hits(FaultKind::kMaskDeadEnd, tag);
    const bool refuses = faults_.hits(FaultKind::kMaskRefusal, tag);
    if (!random.chance(100) && !is_dead && !refuses) return;
    arrival.request.num_choices = 1;
    arrival.mask.seed = random.next() | 1;
    if (is_dead) arrival.mask.dead_end_at = random.between(0, 20);
    if (refuses) arrival.mask.refuses_at = random.between(0, 20);
  }

  void add_deadlines(SeededRandom& random, size_t tag, Request& request) const {
    if (!faults_.hits(FaultKind::kDeadline, tag)) return;
    const auto later = [&] { return request.arrival + from_ms(random.between(0, 2000)); };
    if (random.chance(400)) request.queue_deadline = later();
    if (random.chance(400)) request.first_token_deadline = later();
    if (random.chance(400)) request.total_deadline = later();
  }

  void spoil(SeededRandom& random, Arrival& arrival) const {
    Request& request = arrival.request;
    arrival.is_refused = true;
    switch (random.between(0, 7)) {
      case 0:
        request.prompt.clear();
        break;
      case 1:
        request.prompt.back() = random.pick({-1, kTestVocab, 1'000'000'000});
        break;
      case 2:
        request.stop.max_tokens = random.pick({0, -1});
        break;
      case 3:
        request.stop.min_tokens = request.stop.max_tokens + 1;
        break;
      case 4:
        request.num_choices = random.pick({0, -1, 129, 1 << 30});
        break;
      case 5:
        request.sampling.temperature = -1;
        break;
      case 6:
        request.stop.strings.assign(65, "x");
        break;
      default:
        request.prompt.resize(static_cast<size_t>(longest_ + random.between(0, 100)), 'x');
    }
  }

  const uint64_t seed_;
  const FaultPlan& faults_;
  const int longest_;
  const FakeExecutor model_;
  uint64_t shared_text_ = 0;
  int share_per_mille_ = 0;
  int num_salts_ = 1;
  int num_tenants_ = 1;
  std::vector<std::vector<TokenId>> spoken_;  // prompts so far
};

}  // namespace

int longest_context(const ExecutorLimits& limits) {
  return std::min(limits.max_context_tokens, limits.num_blocks * limits.block_tokens);
}

Workload make_workload(uint64_t seed, const FaultPlan& faults, int max_requests,
                       const std::vector<TraceRow>& trace) {
  Workload workload;
  SeededRandom machine(seed, kMachineStream);
  workload.executor = make_executor(machine);
  workload.executor.limits.max_steps_in_flight = SeededRandom(seed, kOverlapStream).between(1, 2);
  workload.engine = make_engine(machine);
  SeededRandom door(seed, kDoorMachineStream);
  workload.door = make_door(door, workload.engine);
  add_speculation(machine, workload);
  RequestMaker maker(seed, faults, workload);
  SeededRandom random(seed, kArrivalStream);
  ArrivalProcess arrivals(random, trace);
  const int num_requests = random.chance(50) ? random.between(100, 300) : random.between(1, 50);
  TimePoint at{};
  for (int i = 0; i < std::min(num_requests, max_requests); ++i) {
    at += from_ms(arrivals.next_gap_ms(random));
    workload.arrivals.push_back(maker.make(static_cast<size_t>(i), at, arrivals.row()));
  }
  return workload;
}

}  // namespace sparrow
