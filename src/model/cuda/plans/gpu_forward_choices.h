#pragma once
// GpuForwardChoices: which of two ways a step of few rows takes, where both are kept: the newer one
// with fewer and longer kernels, and the plain one that it is measured and tested against.

#include <string>

#include "base/status.h"

namespace sparrow {

struct GpuForwardChoices {
  // The block that finishes a row's attention last merges its ranges; else attention_combine does,
  // a kernel more.
  bool merge_in_attention = true;
  // Products of up to 8 rows are cut for the card's multiprocessors (linear/few_rows.cu); else a
  // warp takes a row of W (linear/row_dots.cu).
  bool cut_products_for_card = true;
  // Such a product normalises its input itself; else rms_norm does, a kernel more.
  bool norm_in_products = true;
  // The product of q, k and v rotates and stores them (a bf16 cache); else rope_store does, a
  // kernel more.
  bool rope_in_products = true;
  // Kernels of a decode step start while those before them finish (programmatic dependent launch,
  // on sm_90 and newer); else each waits for the end of the one before.
  bool overlap_launches = true;

  static constexpr GpuForwardChoices plain() { return {false, false, false, false, false}; }
};

// Turns one of them off: merge, cut, norm, rope, overlap, in the order of the fields. The error
// names the option of sparrow bench that it is for.
Status leave_out(GpuForwardChoices& choices, const std::string& name);

}  // namespace sparrow
