#include "service_order.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

constexpr int kAssumedOutputTokens = 256;

}  // namespace

uint64_t ServiceOrder::cost_of(int num_prompt_tokens, int max_tokens) {
  return static_cast<uint64_t>(num_prompt_tokens + std::min(max_tokens, kAssumedOutputTokens));
}

void ServiceOrder::accept(size_t tag, int num_choices, int priority, const std::string& key,
                          uint64_t cost) {
  if (is_empty_) first_priority_ = priority;
  is_empty_ = false;
  has_one_priority_ = has_one_priority_ && priority == first_priority_;
  cost_max_ = std::max(cost_max_, cost);
  for (int choice = 0; choice < num_choices; ++choice) {
    uint64_t& unserved = unserved_[key];
    unserved += cost;
    waiting_.push_back({.tag = tag,
                        .choice = choice,
                        .priority = priority,
                        .key = key,
                        .cost = cost,
                        .bound = unserved,
                        .overtaken = {}});
  }
}

ServiceOrder::Position ServiceOrder::find(size_t tag, int choice) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& one) {
    return one.tag == tag && one.choice == choice;
  });
  CHECK(at != waiting_.end());
  return at;
}

std::string ServiceOrder::start(size_t tag, int choice,
                                const std::function<bool(size_t tag)>& may_wait) {
  const Position started = find(tag, choice);
  std::string wrong;
  for (Position other = waiting_.begin(); other != waiting_.end(); ++other) {
    if (other == started || other->priority > started->priority) continue;
    if (may_wait(other->tag)) continue;
    const bool came_first = other < started;
    if (other->priority < started->priority) {
      wrong = fmt::format("request {} went before {}, which is more urgent", tag, other->tag);
      continue;
    }
    if (other->key == started->key) {
      if (came_first && other->priority == started->priority) {
        wrong = fmt::format("request {} was overtaken by {} of its own key", other->tag, tag);
      }
      continue;
    }
    // With several priorities the virtual time may jump past requests that already wait.
    if (!came_first && !has_one_priority_) continue;
    uint64_t& overtaken = other->overtaken[started->key];
    overtaken += started->cost;
    if (overtaken > other->bound + 2 * cost_max_) {
      wrong = fmt::format("key {} took {} tokens before request {}, more than its turn",
                          started->key, overtaken, other->tag);
    }
  }
  unserved_[started->key] -= started->cost;
  waiting_.erase(started);
  return wrong;
}

void ServiceOrder::drop(size_t tag, int choice) { waiting_.erase(find(tag, choice)); }

}  // namespace sparrow
