#include "model/cuda/plans/gpu_forward_choices.h"

#include <fmt/format.h>

namespace sparrow {

Status leave_out(GpuForwardChoices& choices, const std::string& name) {
  bool* const found = name == "merge"     ? &choices.merge_in_attention
                      : name == "cut"     ? &choices.cut_products_for_card
                      : name == "norm"    ? &choices.norm_in_products
                      : name == "rope"    ? &choices.rope_in_products
                      : name == "overlap" ? &choices.overlap_launches
                                          : nullptr;
  if (found == nullptr) {
    return invalid_argument(
        fmt::format("--gpu-leave-out {}: it is none of merge, cut, norm, rope, overlap", name));
  }
  *found = false;
  return ok_status();
}

}  // namespace sparrow
