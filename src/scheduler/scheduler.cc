#include "scheduler/scheduler.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "scheduler/seat_sharing.h"

namespace sparrow {
namespace {

// A prompt piece is worth its step when it has at least this many rows (one KV block).
constexpr int kMinPrefillRows = 16;
// Rows of the first step, whose cost nobody knows yet.
constexpr int kFirstStepRows = 64;
// What a request's answer is assumed to cost when keys are weighed against each other.
constexpr int kAssumedOutputTokens = 256;
// Sequences that wait for a prefix are passed over; behind so many of them nobody looks on.
constexpr int kMaxPassedOver = 64;

bool passed(const std::optional<TimePoint>& deadline, TimePoint now) {
  return deadline.has_value() && now >= *deadline;
}

bool is_expired(const Sequence& sequence, TimePoint now) {
  const Request& request = *sequence.request;
  if (passed(request.total_deadline, now)) return true;
  const bool has_output = sequence.num_output_tokens() > 0;
  if (!has_output && passed(request.first_token_deadline, now)) return true;
  const bool was_planned = sequence.first_planned != kNever;
  return !was_planned && passed(request.queue_deadline, now);
}

void insert_in_order(std::vector<std::unique_ptr<Sequence>>& sequences,
                     std::unique_ptr<Sequence> sequence) {
  const auto at = std::upper_bound(sequences.begin(), sequences.end(), sequence,
                                   [](const auto& a, const auto& b) { return a->before(*b); });
  sequences.insert(at, std::move(sequence));
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      blocks_(options.num_blocks, options.block_tokens),
      sharing_(options.prefix, blocks_, options.block_tokens) {
  CHECK(options.block_tokens > 0 && max_running() > 0);
  CHECK(options.speculation.max_tokens <= kMaxDraftTokens);
  for (SlotId slot = max_running(); slot-- > 0;) free_slots_.push_back(slot);
  // Giving a slot back never fails: one can be lost, restarted and lost again between two clears.
  released_slots_.reserve(4 * free_slots_.size());
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  CHECK(sequence->num_tokens() > 0 && sequence->slot == kNoSlot);
  const int cost =
      sequence->num_prompt_tokens + std::min(sequence->max_tokens, kAssumedOutputTokens);
  sequence->fair_tag =
      fair_order_.arrive(sequence->request->fairness_key, static_cast<uint64_t>(cost));
  sequence->serial = num_added_++;
  none_can_enter_ = false;
  sharing_.enter(*sequence);
  insert_in_order(waiting_, std::move(sequence));
}

void Scheduler::finish_request(uint64_t request_id, FinishReason reason) {
  for (Sequences* sequences : {&waiting_, &running_}) {
    for (auto& sequence : *sequences) {
      if (sequence->request->id == request_id) end(*sequence, reason);
    }
    sweep(*sequences);
  }
}

void Scheduler::finish_all(FinishReason reason) {
  for (Sequences* sequences : {&waiting_, &running_}) {
    for (auto& sequence : *sequences) end(*sequence, reason);
    sweep(*sequences);
  }
}

void Scheduler::finish_unplanned(FinishReason reason) {
  for (auto& sequence : waiting_) {
    if (sequence->first_planned == kNever) end(*sequence, reason);
  }
  sweep(waiting_);
}

void Scheduler::expire(TimePoint now) {
  for (Sequences* sequences : {&waiting_, &running_}) {
    for (auto& sequence : *sequences) {
      if (is_expired(*sequence, now)) end(*sequence, FinishReason::kDeadline);
    }
    sweep(*sequences);
  }
}

std::optional<TimePoint> Scheduler::earliest_deadline() const {
  std::optional<TimePoint> earliest;
  const auto consider = [&](const std::optional<TimePoint>& deadline) {
    if (deadline && (!earliest || *deadline < *earliest)) earliest = deadline;
  };
  for (const Sequences* sequences : {&waiting_, &running_}) {
    for (const auto& sequence : *sequences) {
      consider(sequence->request->total_deadline);
      if (sequence->num_output_tokens() == 0) consider(sequence->request->first_token_deadline);
      if (sequence->first_planned == kNever) consider(sequence->request->queue_deadline);
    }
  }
  return earliest;
}

int64_t Scheduler::uncomputed_prompt_tokens(const Sequences& sequences) {
  int64_t sum = 0;
  for (const auto& sequence : sequences) {
    sum += std::max(0, sequence->num_prompt_tokens - sequence->num_computed);
  }
  return sum;
}

Duration Scheduler::oldest_wait(TimePoint now) const {
  Duration oldest{};
  for (const auto& sequence : waiting_) {
    if (sequence->first_planned == kNever)
      oldest = std::max(oldest, now - sequence->request->arrival);
  }
  return oldest;
}

void Scheduler::append_forced(Sequence& sequence, std::span<const TokenId> tokens) {
  CHECK(sequence.state != SequenceState::kFinished);
  CHECK(sequence.num_tokens() + static_cast<int>(tokens.size()) <= sequence.max_positions());
  sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
  sequence.slot_is_stale = true;
}

void Scheduler::finish(Sequence& sequence, FinishReason reason) {
  end(sequence, reason);
  sweep(waiting_);
  sweep(running_);
}

void Scheduler::truncate(Sequence& sequence, int num_tokens) {
  CHECK(sequence.num_steps_on_way == 0 && sequence.state != SequenceState::kFinished);
  CHECK(num_tokens >= sequence.num_prompt_tokens && num_tokens <= sequence.num_tokens());
  sequence.tokens.resize(static_cast<size_t>(num_tokens));
  sequence.slot_is_stale = true;
  sharing_.cut(sequence, num_tokens / options_.block_tokens);
  if (sequence.num_computed < num_tokens) return;
  // The last token is computed again: its logits are needed.
  const int num_kept_blocks = (num_tokens - 1) / options_.block_tokens;
  const auto rest = std::span(sequence.blocks).subspan(static_cast<size_t>(num_kept_blocks));
  blocks_.release(rest);
  sequence.blocks.resize(static_cast<size_t>(num_kept_blocks));
  sequence.num_computed = num_kept_blocks * options_.block_tokens;
  sharing_.cut(sequence, num_kept_blocks);
}

int Scheduler::num_generating(size_t first) const {
  return static_cast<int>(
      std::count_if(running_.begin() + static_cast<ptrdiff_t>(first), running_.end(),
                    [](const auto& sequence) { return sequence->is_generating(); }));
}

int Scheduler::row_budget() const {
  const int least = std::min(max_rows(), num_generating(0) + kMinPrefillRows);
  if (!step_cost_.known()) return std::min(max_rows(), std::max(least, kFirstStepRows));
  return step_cost_.rows_within(options_.max_step_ms, least, max_rows());
}

const BatchPlan& Scheduler::plan(TimePoint now) {
  abandon_steps();
  admitted_.clear();  // those of the step before may be gone
  drafts_.clear();
  step_->plan.step = ++num_steps_;
  share_seats(now);
  const int budget = row_budget();
  plan_running(budget);
  admit_waiting(now, budget);
  while (step_->planned.empty() && running_.empty() && !waiting_.empty()) {
    end(*waiting_.front(), FinishReason::kNoMemory);  // all blocks are free and it does not fit
    sweep(waiting_);
    admit_waiting(now, budget);
  }
  hand_out_rest(budget);
  plan_drafts(budget);
  for (const Planned& planned : step_->planned) write_span(planned);
  put_on_way(*step_);
  return step_->plan;
}

void Scheduler::plan_running(int budget) {
  int reserved = num_generating(0);  // rows kept back for those further down
  // By index: preemption shortens the list behind the current sequence, or ends with it.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.is_generating()) --reserved;
    const int room = budget - step_->num_rows - reserved;
    const int rows = share_of_room(sequence, room);
    if (rows <= 0) continue;
    const size_t num_before = running_.size();
    if (!ensure_blocks(sequence, sequence.num_computed + rows)) return;  // it was preempted itself
    if (running_.size() < num_before) reserved = num_generating(i + 1);
    if (sequence.slot_is_stale) restart_slot(sequence);
    add_span(sequence, rows);
  }
}

// What it needs, if it ends with this step; else half, so that those behind it get on, too.
int Scheduler::share_of_room(const Sequence& sequence, int room) const {
  const int wanted = sequence.num_uncomputed();
  if (wanted <= room) return wanted;
  return std::min(room, std::max(room / 2, kMinPrefillRows));
}

// Rows that nobody behind wanted go back to the prompts, in order of service.
void Scheduler::hand_out_rest(int budget) {
  for (Planned& planned : step_->planned) {
    const Sequence& sequence = *planned.sequence;
    const auto held = static_cast<int>(sequence.blocks.size()) * options_.block_tokens;
    const int end = sequence.num_computed + planned.num_rows;
    const int more = std::min({sequence.num_tokens(), held, end + budget - step_->num_rows}) - end;
    if (more <= 0) continue;
    planned.num_rows += more;
    step_->num_rows += more;
  }
}

// Frees blocks from the end of the list until the sequence has enough. False when the sequence
// itself was the last: it waits again, or ended because it does not fit even alone.
bool Scheduler::ensure_blocks(Sequence& sequence, int num_positions) {
  const int missing = blocks_for(num_positions) - static_cast<int>(sequence.blocks.size());
  if (missing <= 0) return true;
  while (!blocks_.try_allocate(missing, sequence.blocks)) {
    const bool is_last = running_.back().get() == &sequence;
    if (is_last && running_.size() == 1) {
      end(sequence, FinishReason::kNoMemory);
      sweep(running_);
      return false;
    }
    ++running_.back()->num_preemptions;
    preempt(running_.size() - 1);
    if (is_last) return false;
  }
  return true;
}

// Before anything is planned: the place must not be part of this step. Nobody gives up a place that
// the newcomer cannot use at once.
void Scheduler::share_seats(TimePoint now) {
  seat_denied_.reset();
  // Without the prefix cache who gave its place would have to compute everything again.
  if (!free_slots_.empty() || waiting_.empty() || !options_.prefix.enabled) return;
  const std::optional<SeatChange> change =
      seat_change(waiting_, running_, from_ms(options_.seat_patience_ms), now);
  if (!change) return;
  Sequence& newcomer = *waiting_[change->newcomer];
  const bool is_its_turn = newcomer.request->priority <= waiting_.front()->request->priority;
  sharing_.match(newcomer, matched_);
  if (is_its_turn && is_prefix_on_its_way(newcomer)) return;  // for a few steps
  if (!is_its_turn || !has_memory_for(newcomer)) {
    seat_denied_ = newcomer.serial;
    return;
  }
  seat_taker_ = newcomer.serial;
  preempt(change->giver);
}

void Scheduler::preempt(size_t index) {
  waiting_.reserve(waiting_.size() + 1);  // before anything is taken apart
  std::unique_ptr<Sequence> sequence = std::move(running_[index]);
  running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
  vacate(*sequence);
  sequence->num_computed = 0;
  sequence->prefix.num_published = 0;
  sequence->state = SequenceState::kWaiting;
  ++num_preemptions_;
  insert_in_order(waiting_, std::move(sequence));
}

// Blocks that must stay free so that a newcomer is not preempted at once: for it and for every
// running sequence a few more, twice as many for each time it was preempted, never more than they
// can still need. Alone it needs none.
int Scheduler::headroom_for(const Sequence& sequence) const {
  if (running_.empty() && admitted_.empty()) return 0;
  const int growth = 1 << std::min(sequence.num_preemptions, 20);
  const auto room_of = [&](const Sequence& other) {
    const int now = std::max(static_cast<int>(other.blocks.size()), blocks_for(other.num_tokens()));
    return std::clamp(blocks_for(other.max_positions()) - now, 0, growth);
  };
  int64_t sum = room_of(sequence);
  for (const auto& other : running_) sum += room_of(*other);
  for (const Sequence* other : admitted_) sum += room_of(*other);
  return static_cast<int>(std::min<int64_t>(sum, options_.num_blocks));
}

// Whoever a place was given up for stands before all others until it has it, but for more urgent
// ones.
Sequence* Scheduler::take_seat_taker() {
  if (!seat_taker_) return nullptr;
  const auto taker = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& sequence) {
    return sequence->serial == *seat_taker_;
  });
  seat_taker_.reset();
  if (taker == waiting_.end()) return nullptr;
  const int most_urgent = waiting_.front()->request->priority;
  return (*taker)->request->priority <= most_urgent ? taker->get() : nullptr;
}

void Scheduler::admit_waiting(TimePoint now, int budget) {
  admitted_.clear();
  num_deferred_ = 0;
  none_can_enter_ = false;
  if (Sequence* const taker = take_seat_taker(); taker != nullptr && !free_slots_.empty()) {
    if (budget <= step_->num_rows ||
        admit(*taker, now, budget - step_->num_rows) != Admission::kAdmitted) {
      seat_taker_ = taker->serial;
      return;
    }
    admitted_.push_back(taker);
  }
  bool has_memory = true;
  for (size_t i = 0; i < waiting_.size() && !free_slots_.empty(); ++i) {
    if (waiting_[i]->state == SequenceState::kRunning) continue;  // admitted above
    const int room = budget - step_->num_rows;
    if (room <= 0) break;
    const Admission admission = admit(*waiting_[i], now, room);
    has_memory = admission != Admission::kNoMemory;
    if (!has_memory) break;
    if (admission == Admission::kAdmitted) admitted_.push_back(waiting_[i].get());
    if (admission == Admission::kWaitsForPrefix && ++num_deferred_ == kMaxPassedOver) break;
  }
  none_can_enter_ = num_deferred_ == 0 && (!has_memory || free_slots_.empty());
  if (admitted_.empty()) return;
  running_.reserve(running_.size() + admitted_.size());  // before anything is moved
  for (std::unique_ptr<Sequence>& sequence : waiting_) {
    if (sequence->state == SequenceState::kRunning) insert_in_order(running_, std::move(sequence));
  }
  std::erase(waiting_, nullptr);
}

// Beside the blocks of matched_. All known tokens must fit now: a half-computed prompt that is
// preempted is work thrown away.
bool Scheduler::has_memory_for(const Sequence& sequence) const {
  // Holding the matched ones takes those from what is available that nobody holds now.
  const auto num_revived = static_cast<int>(std::count_if(
      matched_.begin(), matched_.end(), [&](BlockId b) { return blocks_.num_holders(b) == 0; }));
  const int needed = blocks_for(sequence.num_tokens()) - static_cast<int>(matched_.size());
  return needed + num_revived + headroom_for(sequence) <= blocks_.num_available();
}

Scheduler::Admission Scheduler::admit(Sequence& sequence, TimePoint now, int room) {
  sharing_.match(sequence, matched_);
  if (is_prefix_on_its_way(sequence)) return Admission::kWaitsForPrefix;
  if (!has_memory_for(sequence)) return Admission::kNoMemory;
  const int needed = blocks_for(sequence.num_tokens()) - static_cast<int>(matched_.size());
  // Before anything is taken.
  sequence.blocks.reserve(static_cast<size_t>(blocks_for(sequence.num_tokens())));
  take_matched(sequence);
  CHECK(blocks_.try_allocate(needed, sequence.blocks));
  sequence.state = SequenceState::kRunning;
  if (sequence.first_planned == kNever) {
    sequence.first_planned = now;
    fair_order_.serve(sequence.fair_tag);
    sequence.num_cached = sequence.num_computed;
    prefix_counts_.num_queried_tokens += static_cast<uint64_t>(sequence.num_prompt_tokens);
    prefix_counts_.num_hit_tokens += static_cast<uint64_t>(sequence.num_cached);
  }
  start_slot(sequence);
  add_span(sequence, share_of_room(sequence, room));
  return Admission::kAdmitted;
}

bool Scheduler::is_prefix_on_its_way(const Sequence& sequence) const {
  const auto num_matched = static_cast<int>(matched_.size());
  const auto computes_it = [&](const Sequence& other) {
    return sharing_.is_on_its_way(sequence, num_matched, other);
  };
  return std::any_of(running_.begin(), running_.end(),
                     [&](const auto& other) { return computes_it(*other); }) ||
         std::any_of(admitted_.begin(), admitted_.end(),
                     [&](const Sequence* other) { return computes_it(*other); });
}

void Scheduler::take_matched(Sequence& sequence) {
  for (const BlockId block : matched_) blocks_.add_holder(block);
  sequence.blocks.assign(matched_.begin(), matched_.end());
  sequence.num_computed = static_cast<int>(matched_.size()) * options_.block_tokens;
  sequence.prefix.num_published = static_cast<int>(matched_.size());
}

void Scheduler::start_slot(Sequence& sequence) {
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  sequence.slot_is_stale = false;
  step_->plan.slot_starts.push_back({.slot = sequence.slot,
                                     .params = &sequence.params,
                                     .tokens = sequence.tokens,
                                     .num_prompt_tokens = sequence.num_prompt_tokens,
                                     .banned_early = sequence.request->stop.token_ids,
                                     .min_tokens = sequence.request->stop.min_tokens});
}

// The sampler state is made anew from the edited tokens; KV blocks are the sequence's own and stay.
void Scheduler::restart_slot(Sequence& sequence) {
  released_slots_.push_back(sequence.slot);
  free_slots_.push_back(sequence.slot);
  start_slot(sequence);
}

void Scheduler::add_span(Sequence& sequence, int num_rows) {
  step_->planned.push_back({.sequence = &sequence, .num_rows = num_rows});
  step_->num_rows += num_rows;
}

void Scheduler::write_span(const Planned& planned) {
  const Sequence& sequence = *planned.sequence;
  Span span;
  span.slot = sequence.slot;
  span.first_position = sequence.num_computed;
  span.num_tokens = planned.num_rows + planned.num_drafts;
  span.num_drafts = planned.num_drafts;
  const bool is_last = planned.num_rows == sequence.num_uncomputed();
  span.num_logit_rows = is_last ? 1 + planned.num_drafts : 0;
  span.token_begin = step_->plan.num_tokens();
  span.block_begin = static_cast<int32_t>(step_->plan.block_ids.size());
  span.num_blocks = blocks_for(span.first_position + span.num_tokens);
  const auto tokens = sequence.tokens.begin() + sequence.num_computed;
  step_->plan.token_ids.insert(step_->plan.token_ids.end(), tokens, tokens + planned.num_rows);
  const auto drafts = drafts_.begin() + planned.draft_begin;
  step_->plan.token_ids.insert(step_->plan.token_ids.end(), drafts, drafts + planned.num_drafts);
  step_->plan.block_ids.insert(step_->plan.block_ids.end(), sequence.blocks.begin(),
                               sequence.blocks.begin() + span.num_blocks);
  step_->plan.spans.push_back(span);
}

// What it computed stays findable until its blocks are needed.
void Scheduler::vacate(Sequence& sequence) {
  try {
    sharing_.publish(sequence);
  } catch (const std::bad_alloc&) {  // then nobody finds it
  }
  blocks_.release(sequence.blocks);
  sequence.blocks.clear();
  if (sequence.slot == kNoSlot) return;
  free_slots_.push_back(sequence.slot);
  released_slots_.push_back(sequence.slot);
  sequence.slot = kNoSlot;
}

void Scheduler::end(Sequence& sequence, FinishReason reason) {
  if (sequence.state == SequenceState::kFinished) return;
  if (sequence.num_steps_on_way == 0) vacate(sequence);
  sequence.finish = reason;
  sequence.state = SequenceState::kFinished;
  none_can_enter_ = false;
}

void Scheduler::sweep(Sequences& sequences) {
  const auto live = std::stable_partition(sequences.begin(), sequences.end(), [](const auto& s) {
    return s->state != SequenceState::kFinished;
  });
  finished_.reserve(finished_.size() + static_cast<size_t>(sequences.end() - live));
  std::move(live, sequences.end(), std::back_inserter(finished_));
  sequences.erase(live, sequences.end());
}

std::vector<std::unique_ptr<Sequence>> Scheduler::take_finished() {
  return std::exchange(finished_, {});
}

void Scheduler::check_integrity() const {
  blocks_.check_integrity();
  std::vector<int> num_holders(static_cast<size_t>(options_.num_blocks), 0);
  std::vector<bool> slot_used(static_cast<size_t>(options_.num_slots), false);
  for (const auto& sequence : running_) {
    CHECK(sequence->state == SequenceState::kRunning);
    CHECK(sequence->num_computed <= sequence->num_tokens());
    CHECK(static_cast<int>(sequence->blocks.size()) >= blocks_for(sequence->num_computed));
    CHECK(sequence->prefix.num_published * options_.block_tokens <= sequence->num_computed);
    CHECK(!slot_used.at(static_cast<size_t>(sequence->slot)));
    slot_used[static_cast<size_t>(sequence->slot)] = true;
    for (const BlockId block : sequence->blocks) ++num_holders.at(static_cast<size_t>(block));
  }
  size_t num_leaving = 0;  // ended, with steps on their way
  for (const Step* step : {step_.get(), ahead_.get()}) {
    if (!step->is_on_way) continue;
    for (const Planned& planned : step->planned) {
      const Sequence& sequence = *planned.sequence;
      CHECK(sequence.num_steps_on_way > 0);
      const auto slot = static_cast<size_t>(sequence.slot);
      if (sequence.state != SequenceState::kFinished || slot_used.at(slot)) continue;
      slot_used[slot] = true;
      ++num_leaving;
      for (const BlockId block : sequence.blocks) ++num_holders.at(static_cast<size_t>(block));
    }
  }
  for (const auto& sequence : waiting_) {
    CHECK(sequence->state == SequenceState::kWaiting && sequence->num_steps_on_way == 0);
    CHECK(sequence->blocks.empty() && sequence->slot == kNoSlot && sequence->num_computed == 0);
  }
  for (BlockId block = 0; block < options_.num_blocks; ++block) {
    CHECK(blocks_.num_holders(block) == num_holders[static_cast<size_t>(block)]);
  }
  CHECK(free_slots_.size() + running_.size() + num_leaving == static_cast<size_t>(max_running()));
}

}  // namespace sparrow
