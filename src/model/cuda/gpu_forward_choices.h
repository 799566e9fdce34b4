#pragma once
// GpuForwardChoices: which of two ways a step of few rows takes, where both are kept: the newer one
// with fewer and longer kernels, and the plain one that it is measured and tested against.

namespace sparrow {

struct GpuForwardChoices {
  // The block that finishes a row's attention last merges its ranges; else attention_combine does,
  // a kernel more.
  bool merge_in_attention = true;
};

}  // namespace sparrow
