#pragma once
// The few C declarations of NVIDIA's cuBLASLt (libcublasLt.so.13, .12) that cublas_lt.cc calls, so
// that building needs no header of it and starting needs no library. Names, numbers and layouts as
// in the "cuBLAS Library" documentation, section cuBLASLt API; the same in both versions. Internal
// to cublas_lt.cc and its tests.

#include <cstddef>
#include <cstdint>

namespace sparrow::cublas_lt {

using Handle = struct HandleTag*;          // cublasLtHandle_t
using Operation = struct OperationTag*;    // cublasLtMatmulDesc_t
using Layout = struct LayoutTag*;          // cublasLtMatrixLayout_t
using Preference = struct PreferenceTag*;  // cublasLtMatmulPreference_t
using Stream = void*;                      // cudaStream_t
using Code = int;                          // cublasStatus_t

constexpr Code kSuccess = 0;
constexpr Code kNotSupported = 15;

// cudaDataType_t
constexpr int kF32 = 0, kF16 = 2, kBF16 = 14;
// cublasComputeType_t: products of 16 bits are summed in fp32.
constexpr int kComputeF32 = 68;
// cublasOperation_t
constexpr int kPlain = 0, kTransposed = 1;
// cublasLtMatmulDescAttributes_t, with the type of the value
constexpr int kTransA = 3, kTransB = 4;  // int32_t: cublasOperation_t
constexpr int kEpilogue = 7;             // uint32_t
constexpr int kBiasPointer = 8;          // const void*
// cublasLtEpilogue_t
constexpr uint32_t kEpilogueNone = 1, kEpilogueBias = 4;
// cublasLtMatmulPreferenceAttributes_t
constexpr int kMaxWorkspaceBytes = 1;  // uint64_t

// cublasLtMatmulAlgo_t
struct Algorithm {
  uint64_t data[8];
};
// cublasLtMatmulHeuristicResult_t
struct Choice {
  Algorithm algorithm;
  size_t workspace_bytes;
  Code state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Choice) == 96 && offsetof(Choice, state) == 72);

using GetVersion = size_t (*)();                // cublasLtGetVersion: 130102 is 13.1.2
using GetStatusString = const char* (*)(Code);  // cublasLtGetStatusString
using Create = Code (*)(Handle*);               // cublasLtCreate
using Destroy = Code (*)(Handle);               // cublasLtDestroy
using OperationCreate = Code (*)(Operation*, int compute_type, int scale_type);
using OperationDestroy = Code (*)(Operation);
using OperationSet = Code (*)(Operation, int attribute, const void* value, size_t bytes);
// Column-major: rows are neighbours in memory, columns leading_dimension elements apart.
using LayoutCreate = Code (*)(Layout*, int type, uint64_t rows, uint64_t cols,
                              int64_t leading_dimension);
using LayoutDestroy = Code (*)(Layout);
using PreferenceCreate = Code (*)(Preference*);
using PreferenceDestroy = Code (*)(Preference);
using PreferenceSet = Code (*)(Preference, int attribute, const void* value, size_t bytes);
// cublasLtMatmulAlgoGetHeuristic
using GetHeuristic = Code (*)(Handle, Operation, Layout a, Layout b, Layout c, Layout d, Preference,
                              int num_wanted, Choice* choices, int* num_found);
// cublasLtMatmul: d = alpha * op(a) op(b) + beta * c (+ bias per row of d)
using Matmul = Code (*)(Handle, Operation, const void* alpha, const void* a, Layout, const void* b,
                        Layout, const void* beta, const void* c, Layout, void* d, Layout,
                        const Algorithm*, void* workspace, size_t workspace_bytes, Stream);

}  // namespace sparrow::cublas_lt
