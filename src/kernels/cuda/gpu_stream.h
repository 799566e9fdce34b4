#pragma once
// GpuStream: where a kernel is queued. A CUDA stream, or the twin's queue of launches; a value that
// does not own it and is valid while its device lives.

namespace sparrow {

struct GpuStream {
  void* handle = nullptr;
  // Kernels that say launch_overlapped() (gpu_compiler.h) may start before the one in front of them
  // has finished. For cards from sm_90 on.
  bool overlaps_launches = false;
};

}  // namespace sparrow
