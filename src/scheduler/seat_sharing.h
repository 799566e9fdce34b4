#pragma once
// Seat sharing: who gives a place in the step to whom, when one key holds most of them and another
// has waited long. Fair order alone decides who starts next; where nobody ends for minutes, that is
// not enough. Stateless; engine thread.
//
// The first newcomer of the queue that has waited for `patience` takes the place of the sequence
// served last of the key that holds the most, if that key holds at least two more than the
// newcomer's own and the sequence is not more urgent. So keys move towards equal shares, one place
// at a time, and one key alone is never disturbed. Who gave its place goes on later from its kept
// blocks, before its key's newcomers.

#include <memory>
#include <optional>
#include <span>

#include "base/clock.h"
#include "scheduler/sequence.h"

namespace sparrow {

struct SeatChange {
  size_t newcomer = 0;  // index in the queue
  size_t giver = 0;     // index among the running
};

// Both in order of service. A patience of zero: never.
std::optional<SeatChange> seat_change(std::span<const std::unique_ptr<Sequence>> waiting,
                                      std::span<const std::unique_ptr<Sequence>> running,
                                      Duration patience, TimePoint now);

}  // namespace sparrow
