#pragma once
// A card's health (kernels/cuda/gpu_health.h) as the API reports it. Stateless.

#include <string>
#include <vector>

#include "api/api_options.h"
#include "kernels/cuda/gpu_health.h"

namespace sparrow {

// Empty for an empty pci_bus_id: the CPU computes. Why a card cannot be read is logged: at once
// where it never can, later whenever it begins; a function is returned all the same, which answers
// with nothing.
api::ReadDeviceHealth device_health_reader(const std::string& pci_bus_id,
                                           const char* library = kNvmlLibrary);
// Of several cards: the fullest one's memory, the hottest one's temperature, the power of all that
// tell it. Empty if the first is: the CPU computes.
api::ReadDeviceHealth worst_device_health(std::vector<api::ReadDeviceHealth> cards);

}  // namespace sparrow
