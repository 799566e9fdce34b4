#pragma once
// Who holds a card's memory, for the message that says it does not suffice. Stateless.

#include <cstdint>
#include <string>

#include "base/status.h"
#include "kernels/cuda/gpu_health.h"

namespace sparrow {

// "PID 1234 holds 3.10 GB, PID 99 (this process) holds 0.52 GB and 3 more hold 0.10 GB": the
// largest first. Empty where the driver names nobody.
std::string memory_holders_text(const GpuHealth& health, int64_t own_pid);

// Appends the holders to an error of kResourceExhausted; every other status, and one of a card
// whose holders cannot be learnt, comes back as it is. An empty pci_bus_id is no card.
Status with_memory_holders(Status status, const std::string& pci_bus_id,
                           const char* library = kNvmlLibrary);

}  // namespace sparrow
