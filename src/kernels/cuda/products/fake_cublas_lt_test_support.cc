// A stand-in for libcublasLt, loaded by tests: the calls of cublas_lt_abi.h with the meaning that
// NVIDIA's documentation gives them, computed on the host, or queued on the twin's stream if there
// is one. Attributes that a caller gets wrong (a size, a value, a type) are refused as the library
// refuses them. FAKE_CUBLAS_LT_FAILS: products are refused; FAKE_CUBLAS_LT_WRONG: they come out
// wrong. Test support only.

#include <cstring>
#include <vector>

#include "kernels/cuda/products/cublas_lt_abi.h"
#include "kernels/cuda/twin/twin_queue.h"
#include "tensor/half.h"

namespace sparrow::cublas_lt {

struct HandleTag {};
struct OperationTag {
  int32_t trans_a = kPlain, trans_b = kPlain;
  uint32_t epilogue = kEpilogueNone;
  const void* bias = nullptr;
};
struct LayoutTag {
  int type;
  uint64_t rows, cols;
  int64_t leading_dimension;
};
struct PreferenceTag {
  uint64_t workspace_bytes = 0;
};

namespace {

constexpr Code kInvalidValue = 7;
int num_products = 0;

float load(const void* memory, int type, size_t at) {
  if (type == kF32) return static_cast<const float*>(memory)[at];
  const uint16_t bits = static_cast<const uint16_t*>(memory)[at];
  return type == kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
}

void store(void* memory, int type, size_t at, float value) {
  if (type == kF32) {
    static_cast<float*>(memory)[at] = value;
  } else {
    static_cast<uint16_t*>(memory)[at] =
        type == kBF16 ? bf16_from_float(value) : f16_from_float(value);
  }
}

template <typename T>
bool read(T& to, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return false;
  std::memcpy(&to, value, sizeof(T));
  return true;
}

// op(matrix) as rows of floats, or as columns.
std::vector<float> values_of(const void* memory, const LayoutTag& layout, bool is_transposed,
                             bool by_rows) {
  const uint64_t rows = is_transposed ? layout.cols : layout.rows;
  const uint64_t cols = is_transposed ? layout.rows : layout.cols;
  const auto step = static_cast<uint64_t>(layout.leading_dimension);
  std::vector<float> values(rows * cols);
  for (uint64_t row = 0; row < rows; ++row) {
    for (uint64_t col = 0; col < cols; ++col) {
      const uint64_t at = is_transposed ? col + row * step : row + col * step;
      values[by_rows ? row * cols + col : col * rows + row] = load(memory, layout.type, at);
    }
  }
  return values;
}

struct Work {
  OperationTag operation;
  LayoutTag a, b, d;
  const void *a_memory, *b_memory;
  void* d_memory;
  float alpha, beta;
};

// d = alpha op(a) op(b) + beta d, and the bias of the row.
void compute(const Work& work) {
  const bool trans_a = work.operation.trans_a == kTransposed;
  const bool trans_b = work.operation.trans_b == kTransposed;
  const uint64_t depth = trans_a ? work.a.rows : work.a.cols;
  const std::vector<float> a = values_of(work.a_memory, work.a, trans_a, true);
  const std::vector<float> b = values_of(work.b_memory, work.b, trans_b, false);
  for (uint64_t column = 0; column < work.d.cols; ++column) {
    for (uint64_t row = 0; row < work.d.rows; ++row) {
      const float *a_row = a.data() + row * depth, *b_column = b.data() + column * depth;
      float sum = 0;
      for (uint64_t k = 0; k < depth; ++k) sum += a_row[k] * b_column[k];
      const size_t at = row + column * static_cast<uint64_t>(work.d.leading_dimension);
      float value = work.alpha * sum;
      if (work.beta != 0) value += work.beta * load(work.d_memory, work.d.type, at);
      if (work.operation.epilogue == kEpilogueBias) {
        value += load(work.operation.bias, work.d.type, row);
      }
#ifdef FAKE_CUBLAS_LT_WRONG
      value *= 1.5f;
#endif
      store(work.d_memory, work.d.type, at, value);
    }
  }
}

bool fits(const OperationTag& operation, const LayoutTag& a, const LayoutTag& b,
          const LayoutTag& d) {
  const bool plain_a = operation.trans_a == kPlain, plain_b = operation.trans_b == kPlain;
  return (plain_a ? a.rows : a.cols) == d.rows && (plain_b ? b.cols : b.rows) == d.cols &&
         (plain_a ? a.cols : a.rows) == (plain_b ? b.rows : b.cols) && a.type == b.type &&
         (a.type == kBF16 || a.type == kF16) && (d.type == kF32 || d.type == a.type);
}

}  // namespace

extern "C" {

int fake_cublas_lt_num_products() { return num_products; }

size_t cublasLtGetVersion() { return 130102; }
const char* cublasLtGetStatusString(Code) { return "a status of the stand-in"; }
Code cublasLtCreate(Handle* handle) {
  *handle = new HandleTag;
  return kSuccess;
}
Code cublasLtDestroy(Handle handle) {
  delete handle;
  return kSuccess;
}
Code cublasLtMatmulDescCreate(Operation* operation, int compute_type, int scale_type) {
  if (compute_type != kComputeF32 || scale_type != kF32) return kInvalidValue;
  *operation = new OperationTag;
  return kSuccess;
}
Code cublasLtMatmulDescDestroy(Operation operation) {
  delete operation;
  return kSuccess;
}
Code cublasLtMatmulDescSetAttribute(Operation operation, int attribute, const void* value,
                                    size_t bytes) {
  bool good = false;
  if (attribute == kTransA) good = read(operation->trans_a, value, bytes);
  if (attribute == kTransB) good = read(operation->trans_b, value, bytes);
  if (attribute == kEpilogue) good = read(operation->epilogue, value, bytes);
  if (attribute == kBiasPointer) good = read(operation->bias, value, bytes);
  return good ? kSuccess : kInvalidValue;
}
Code cublasLtMatrixLayoutCreate(Layout* layout, int type, uint64_t rows, uint64_t cols,
                                int64_t leading_dimension) {
  if (leading_dimension < static_cast<int64_t>(rows)) return kInvalidValue;
  *layout = new LayoutTag{type, rows, cols, leading_dimension};
  return kSuccess;
}
Code cublasLtMatrixLayoutDestroy(Layout layout) {
  delete layout;
  return kSuccess;
}
Code cublasLtMatmulPreferenceCreate(Preference* preference) {
  *preference = new PreferenceTag;
  return kSuccess;
}
Code cublasLtMatmulPreferenceDestroy(Preference preference) {
  delete preference;
  return kSuccess;
}
Code cublasLtMatmulPreferenceSetAttribute(Preference preference, int attribute, const void* value,
                                          size_t bytes) {
  const bool good =
      attribute == kMaxWorkspaceBytes && read(preference->workspace_bytes, value, bytes);
  return good ? kSuccess : kInvalidValue;
}

// The second way wants more workspace than anybody has, the third is not for this card.
Code cublasLtMatmulAlgoGetHeuristic(Handle, Operation operation, Layout a, Layout b, Layout c,
                                    Layout d, Preference preference, int num_wanted,
                                    Choice* choices, int* num_found) {
  if (num_wanted < 3 || c->type != d->type || !fits(*operation, *a, *b, *d)) return kNotSupported;
  if (operation->epilogue == kEpilogueBias && operation->bias == nullptr) return kInvalidValue;
  choices[0] = {{{1}}, preference->workspace_bytes, kSuccess, 1.0f, {}};
  choices[1] = {{{2}}, preference->workspace_bytes + 1, kSuccess, 1.0f, {}};
  choices[2] = {{{3}}, 0, kNotSupported, 1.0f, {}};
  *num_found = 3;
  return kSuccess;
}

Code cublasLtMatmul(Handle, Operation operation, const void* alpha, const void* a, Layout a_layout,
                    const void* b, Layout b_layout, const void* beta, const void* c, Layout,
                    void* d, Layout d_layout, const Algorithm* algorithm, void* workspace, size_t,
                    Stream stream) {
#ifdef FAKE_CUBLAS_LT_FAILS
  return kNotSupported;
#endif
  const bool good = algorithm->data[0] == 1 && workspace != nullptr && c == d &&
                    fits(*operation, *a_layout, *b_layout, *d_layout);
  if (!good) return kInvalidValue;
  ++num_products;
  Work work = {*operation, *a_layout, *b_layout, *d_layout, a, b, d, 0, 0};
  std::memcpy(&work.alpha, alpha, sizeof(float));
  std::memcpy(&work.beta, beta, sizeof(float));
  if (stream == nullptr) {
    compute(work);
  } else {
    static_cast<gpu_twin::TwinQueue*>(stream)->add([work] { compute(work); });
  }
  return kSuccess;
}

}  // extern "C"

}  // namespace sparrow::cublas_lt
