#include "kernels/cuda/products/cublas_lt.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/cuda/products/cublas_lt_abi.h"

namespace sparrow {
namespace {

namespace lt = cublas_lt;

// Where the loader looks, then where the toolkit puts it.
constexpr const char* kUsualPlaces[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                        "/usr/local/cuda/lib64/libcublasLt.so.13",
                                        "/usr/local/cuda/lib64/libcublasLt.so.12"};

struct Functions {
  lt::GetVersion version = nullptr;
  lt::GetStatusString status_string = nullptr;
  lt::Create create = nullptr;
  lt::Destroy destroy = nullptr;
  lt::OperationCreate operation_create = nullptr;
  lt::OperationDestroy operation_destroy = nullptr;
  lt::OperationSet operation_set = nullptr;
  lt::LayoutCreate layout_create = nullptr;
  lt::LayoutDestroy layout_destroy = nullptr;
  lt::PreferenceCreate preference_create = nullptr;
  lt::PreferenceDestroy preference_destroy = nullptr;
  lt::PreferenceSet preference_set = nullptr;
  lt::GetHeuristic heuristic = nullptr;
  lt::Matmul matmul = nullptr;
};

// The library and a handle in it; what every plan needs.
class Session {
 public:
  explicit Session(void* library) : library_(library) {}
  ~Session() {
    if (handle_ != nullptr) (void)call_.destroy(handle_);
    // Left loaded: CUDA's own clean-up at exit may still call into it.
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status start();
  Status to_status(lt::Code code, const char* what) const {
    if (code == lt::kSuccess) return ok_status();
    const char* text = call_.status_string(code);
    return unavailable(
        fmt::format("{}: {} ({})", what, text == nullptr ? "unknown status" : text, code));
  }
  const Functions& call() const { return call_; }
  lt::Handle handle() const { return handle_; }

 private:
  template <typename Function>
  void find(Function& function, const char* name, const char*& missing) {
    function = reinterpret_cast<Function>(::dlsym(library_, name));
    if (function == nullptr && missing == nullptr) missing = name;
  }

  void* const library_;
  Functions call_;
  lt::Handle handle_ = nullptr;
};

Status Session::start() {
  const char* missing = nullptr;
  find(call_.version, "cublasLtGetVersion", missing);
  find(call_.status_string, "cublasLtGetStatusString", missing);
  find(call_.create, "cublasLtCreate", missing);
  find(call_.destroy, "cublasLtDestroy", missing);
  find(call_.operation_create, "cublasLtMatmulDescCreate", missing);
  find(call_.operation_destroy, "cublasLtMatmulDescDestroy", missing);
  find(call_.operation_set, "cublasLtMatmulDescSetAttribute", missing);
  find(call_.layout_create, "cublasLtMatrixLayoutCreate", missing);
  find(call_.layout_destroy, "cublasLtMatrixLayoutDestroy", missing);
  find(call_.preference_create, "cublasLtMatmulPreferenceCreate", missing);
  find(call_.preference_destroy, "cublasLtMatmulPreferenceDestroy", missing);
  find(call_.preference_set, "cublasLtMatmulPreferenceSetAttribute", missing);
  find(call_.heuristic, "cublasLtMatmulAlgoGetHeuristic", missing);
  find(call_.matmul, "cublasLtMatmul", missing);
  if (missing != nullptr) return unavailable(fmt::format("it lacks {}", missing));
  return to_status(call_.create(&handle_), "it does not start");
}

int type_of(GpuFloat type) { return type == GpuFloat::kBF16 ? lt::kBF16 : lt::kF16; }

// What a product is to the library. Its matrices are column-major, ours row-major, so every one of
// ours is the transpose of one of its: out^T = W x^T.
class Description {
 public:
  explicit Description(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~Description() {
    const Functions& call = session_->call();
    if (operation != nullptr) (void)call.operation_destroy(operation);
    for (const lt::Layout layout : {weights, x, out}) {
      if (layout != nullptr) (void)call.layout_destroy(layout);
    }
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  bool make(const GpuProduct& product);
  bool set_bias(const void* bias) { return set(lt::kBiasPointer, bias); }
  const Functions& call() const { return session_->call(); }
  const Session& session() const { return *session_; }

  GpuProduct product;
  lt::Operation operation = nullptr;
  lt::Layout weights = nullptr, x = nullptr, out = nullptr;

 private:
  template <typename T>
  bool set(int attribute, const T& value) {
    return call().operation_set(operation, attribute, &value, sizeof(value)) == lt::kSuccess;
  }

  std::shared_ptr<Session> session_;
};

bool Description::make(const GpuProduct& wanted) {
  product = wanted;
  const auto rows = static_cast<uint64_t>(product.rows), cols = static_cast<uint64_t>(product.cols);
  const auto num_x_rows = static_cast<uint64_t>(product.num_x_rows);
  const int in_type = type_of(product.type);
  const int out_type = product.has_f32_out ? lt::kF32 : in_type;
  const auto layout = [&](lt::Layout& made, int type, uint64_t height, uint64_t width) {
    return call().layout_create(&made, type, height, width, static_cast<int64_t>(height)) ==
           lt::kSuccess;
  };
  const uint32_t epilogue = product.has_bias ? lt::kEpilogueBias : lt::kEpilogueNone;
  return call().operation_create(&operation, lt::kComputeF32, lt::kF32) == lt::kSuccess &&
         set(lt::kTransA, int32_t{lt::kTransposed}) && set(lt::kTransB, int32_t{lt::kPlain}) &&
         set(lt::kEpilogue, epilogue) && layout(weights, in_type, cols, rows) &&
         layout(x, in_type, cols, num_x_rows) && layout(out, out_type, rows, num_x_rows);
}

struct Workspace {
  void* memory = nullptr;
  size_t bytes = 0;
};

class CublasPlan final : public GpuProductPlan {
 public:
  CublasPlan(std::shared_ptr<Description> description, const lt::Algorithm& algorithm,
             Workspace workspace, GpuStream stream)
      : description_(std::move(description)),
        algorithm_(algorithm),
        workspace_(workspace),
        stream_(stream) {}

  Status queue(const GpuProductOperands& operands) override {
    const Description& of = *description_;
    if (of.product.has_bias && !description_->set_bias(operands.bias)) {
      return unavailable("a product: its bias was refused");
    }
    const float alpha = 1, beta = of.product.add_to_out ? 1.0f : 0.0f;
    return of.session().to_status(
        of.call().matmul(of.session().handle(), of.operation, &alpha, operands.weights, of.weights,
                         operands.x, of.x, &beta, operands.out, of.out, operands.out, of.out,
                         &algorithm_, workspace_.memory, workspace_.bytes, stream_.handle),
        "a product");
  }

 private:
  std::shared_ptr<Description> description_;
  const lt::Algorithm algorithm_;
  const Workspace workspace_;
  const GpuStream stream_;
};

class CublasLibrary final : public GpuProductLibrary {
 public:
  CublasLibrary(std::shared_ptr<Session> session, GpuStream stream)
      : session_(std::move(session)), stream_(stream) {
    const size_t version = session_->call().version();
    name_ = fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  }

  const std::string& name() const override { return name_; }
  void set_workspace(void* memory, size_t bytes) override { workspace_ = {memory, bytes}; }
  std::vector<std::unique_ptr<GpuProductPlan>> find(const GpuProduct& product, int most) override;

 private:
  std::shared_ptr<Session> session_;
  const GpuStream stream_;
  std::string name_;
  Workspace workspace_;
};

std::vector<std::unique_ptr<GpuProductPlan>> CublasLibrary::find(const GpuProduct& product,
                                                                 int most) {
  constexpr int kMost = 16;
  std::vector<std::unique_ptr<GpuProductPlan>> plans;
  auto description = std::make_shared<Description>(session_);
  if (!description->make(product)) return plans;
  const Functions& call = session_->call();
  const uint64_t bytes = workspace_.bytes;
  std::array<lt::Choice, kMost> choices = {};
  int num_found = 0;
  // The choice depends on the alignment of the bias: any aligned address stands for it here.
  if (product.has_bias && !description->set_bias(workspace_.memory)) return plans;
  lt::Preference preference = nullptr;
  if (call.preference_create(&preference) != lt::kSuccess) return plans;
  const bool found =
      call.preference_set(preference, lt::kMaxWorkspaceBytes, &bytes, sizeof(bytes)) ==
          lt::kSuccess &&
      call.heuristic(session_->handle(), description->operation, description->weights,
                     description->x, description->out, description->out, preference,
                     std::min(most, kMost), choices.data(), &num_found) == lt::kSuccess;
  (void)call.preference_destroy(preference);
  if (!found) return plans;
  for (int i = 0; i < std::min(num_found, kMost); ++i) {
    const lt::Choice& choice = choices[static_cast<size_t>(i)];
    if (choice.state != lt::kSuccess || choice.workspace_bytes > workspace_.bytes) continue;
    plans.push_back(
        std::make_unique<CublasPlan>(description, choice.algorithm, workspace_, stream_));
  }
  return plans;
}

Result<std::unique_ptr<GpuProductLibrary>> open_at(GpuStream stream, const char* path) {
  void* const library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* text = ::dlerror();
    return unavailable(text == nullptr ? std::string(path) : std::string(text));
  }
  auto session = std::make_shared<Session>(library);
  const Status started = session->start();
  if (!started.ok()) return unavailable(fmt::format("{}: {}", path, started.message()));
  return std::unique_ptr<GpuProductLibrary>(
      std::make_unique<CublasLibrary>(std::move(session), stream));
}

}  // namespace

Result<std::unique_ptr<GpuProductLibrary>> open_cublas_lt(GpuStream stream,
                                                          const std::string& path) {
  if (!path.empty()) return open_at(stream, path.c_str());
  std::vector<std::string> reasons;
  for (const char* place : kUsualPlaces) {
    Result<std::unique_ptr<GpuProductLibrary>> library = open_at(stream, place);
    if (library.ok()) return library;
    reasons.push_back(library.message());
  }
  return unavailable(fmt::format("{}", fmt::join(reasons, "; ")));
}

}  // namespace sparrow
