#pragma once
// GpuStream: where a kernel is queued. A CUDA stream, or the twin's queue of launches; a value that
// does not own it and is valid while its device lives.

namespace sparrow {

struct GpuStream {
  void* handle = nullptr;
};

}  // namespace sparrow
