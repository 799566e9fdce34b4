#pragma once
// Faults: what may go wrong in a simulated run, and which of it does. Swarm testing (Groce et al.
// 2012): every seed switches 3 to 8 kinds on, each with a rate of its own, so that combinations
// vary. Whether a fault happens is a pure function of (seed, kind, where), so leaving one kind out
// does not move the others. Plain values.

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sparrow {

enum class FaultKind : uint8_t {
  // Clients, asked once per step.
  kHangUpQueued,
  kHangUpPrefill,
  kHangUpDecode,
  kHangUpEnded,    // behind the last token
  kDoubleCancel,   // two or three cancels of one request
  kUnknownCancel,  // of a request nobody sent
  kRetry,          // cancel, and the same request again under its old id and under a new one
  // Clients, asked once per request.
  kDuplicateId,
  kInvalidRequest,  // fields out of range, prompts that can never fit
  kSlowReader,      // reads less than is written, or nothing
  kDeadline,        // shorter than it takes
  // Constraints, asked once per request.
  kMaskDeadEnd,  // no token may come
  kMaskRefusal,  // a token it allowed is refused
  // Executor, asked once per step or span.
  kFailedStep,
  kNotFinite,
  kLongStep,     // ten seconds
  kInstantStep,  // its clock went backwards meanwhile
  // Time, asked once per step.
  kClockHour,
  kClockBack,
  kClockFrozen,
  // Operators, asked once per step.
  kStopAccepting,
  kAbortAll,
  kBurst,      // many requests at once: queue and inbox run over
  kAbruptEnd,  // the engine is destroyed with work in it
  // The door, asked once per step, request or refusal.
  kHangUpPrepared,  // while the request is prepared
  kPrepStall,       // nothing is prepared: its queue runs over
  kStaleSnapshot,   // decided on what the engine said a step earlier
  kForeignMemory,   // others hold the device's memory
  kEarlyReturn,     // back before the time it was told
  kNumKinds
};

inline constexpr size_t kNumFaultKinds = static_cast<size_t>(FaultKind::kNumKinds);
using FaultSet = std::bitset<kNumFaultKinds>;
using FaultCounts = std::array<uint64_t, kNumFaultKinds>;

std::string_view fault_name(FaultKind kind);
std::optional<FaultKind> fault_of_name(std::string_view name);
uint64_t total(const FaultCounts& counts);

class FaultPlan {
 public:
  FaultPlan(uint64_t seed, const FaultSet& disabled);
  bool is_active(FaultKind kind) const { return per_mille_[static_cast<size_t>(kind)] > 0; }
  // Whether it happens at this place (a step, a request, a span).
  bool hits(FaultKind kind, uint64_t at) const;

 private:
  const uint64_t seed_;
  std::array<int, kNumFaultKinds> per_mille_{};
};

}  // namespace sparrow
