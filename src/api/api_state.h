#pragma once
// ApiState: the few numbers all loops share: loading, ready or draining, and how many generation
// requests are inside. Thread-safe. ActiveTicket: one of them, for as long as it lives.

#include <atomic>
#include <utility>

namespace sparrow::api {

enum class ServerPhase { kLoading, kReady, kDraining };

struct ApiState {
  std::atomic<ServerPhase> phase{ServerPhase::kLoading};
  std::atomic<int> num_active{0};
};

// Copyable, so that it can travel in a std::function; the state outlives it.
class ActiveTicket {
 public:
  explicit ActiveTicket(ApiState& state) : state_(&state) { ++state_->num_active; }
  ActiveTicket(const ActiveTicket& other) : state_(other.state_) {
    if (state_ != nullptr) ++state_->num_active;
  }
  ActiveTicket(ActiveTicket&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  ActiveTicket& operator=(const ActiveTicket&) = delete;
  ~ActiveTicket() {
    if (state_ != nullptr) --state_->num_active;
  }

 private:
  ApiState* state_;
};

}  // namespace sparrow::api
