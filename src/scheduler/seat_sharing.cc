#include "scheduler/seat_sharing.h"

#include <algorithm>
#include <map>
#include <string_view>

namespace sparrow {

std::optional<SeatChange> seat_change(std::span<const std::unique_ptr<Sequence>> waiting,
                                      std::span<const std::unique_ptr<Sequence>> running,
                                      Duration patience, TimePoint now) {
  if (patience <= Duration::zero()) return std::nullopt;
  const auto newcomer = std::find_if(waiting.begin(), waiting.end(), [](const auto& sequence) {
    return sequence->first_planned == kNever;
  });
  if (newcomer == waiting.end()) return std::nullopt;
  const Request& request = *(*newcomer)->request;
  if (now - request.arrival < patience) return std::nullopt;
  std::map<std::string_view, int> num_seats;
  for (const auto& sequence : running) ++num_seats[sequence->request->tenant];
  const int own = num_seats[request.tenant];
  std::optional<SeatChange> change;
  int most = own + 1;
  for (size_t i = running.size(); i-- > 0;) {
    const Request& other = *running[i]->request;
    const int seats = num_seats[other.tenant];
    if (seats <= most || other.priority < request.priority) continue;
    most = seats;
    change = {static_cast<size_t>(newcomer - waiting.begin()), i};
  }
  return change;
}

}  // namespace sparrow
