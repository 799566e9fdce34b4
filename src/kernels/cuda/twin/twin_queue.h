#pragma once
// TwinQueue: the twin's stream. Work runs when it is added, unless a graph is being captured: then
// it is kept, with its arguments, and runs as often as the graph is launched.

#include <functional>
#include <utility>
#include <vector>

namespace sparrow::gpu_twin {

using TwinWork = std::vector<std::function<void()>>;

class TwinQueue {
 public:
  virtual ~TwinQueue() = default;
  virtual void add(std::function<void()> work) = 0;
};

}  // namespace sparrow::gpu_twin
