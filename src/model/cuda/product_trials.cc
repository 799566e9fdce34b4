#include "model/cuda/product_trials.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <span>

#include "base/log.h"
#include "model/cuda/trial_values.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr LinearTiles kTiles[] = {LinearTiles::kByRows, LinearTiles::k128By64,
                                  LinearTiles::k128By128};
constexpr int kMostWays = 5;  // of the library, for one product
// Products in a graph, each with another layer's weights: for few rows, which wait for memory, so
// many that they fill L2 twice; for many rows these.
constexpr int32_t kLeastInGraph = 8;
constexpr int32_t kManyRows = 512;
constexpr int kRuns = 2;           // timed; the faster counts
constexpr double kHopeless = 1.5;  // times the best so far in the first replay: no more of it
// As between our kernels and PyTorch (gpu_executor_test.cc): sums of 16-bit products in another
// order, gate and up rounded to 16 bits once more, expanded integers likewise.
constexpr double kMostError = 1e-2;

using Clock = std::chrono::steady_clock;

class Trials {
 public:
  Trials(const ProductTrialScene& scene, GpuProductLibrary* library, GpuProducts& products)
      : scene_(scene), library_(library), products_(products) {}

  Result<std::string> run();

 private:
  // One product of a layer with what the table says now.
  using Queue = std::function<void(int32_t num_rows, int32_t layer)>;

  Queue queue_of(ProductSite site);
  const void* input_of(ProductSite site) const;
  int32_t width_of(ProductSite site) const;
  std::byte* output_of(ProductSite site) const;
  int64_t output_row_bytes(ProductSite site) const;
  bool describe(ProductSite site, int32_t num_rows, GpuProduct& product) const;
  Status fill_inputs(ProductSite site, int32_t num_rows);
  const GpuMatrix& matrix_of(ProductSite site) const;
  int32_t num_in_graph(ProductSite site, int32_t num_rows) const;
  Result<double> time_us(ProductSite site, const Queue& queue, int32_t num_rows, double best_us);
  Result<std::vector<float>> result_rows(ProductSite site, const Queue& queue, int32_t num_rows,
                                         int32_t layer);
  Result<double> error_of_library(ProductSite site, const Queue& queue, int32_t num_rows,
                                  std::unique_ptr<GpuProductPlan> way);
  Result<double> try_tiles(ProductSite site, const Queue& queue, int32_t num_rows);
  Status try_library(ProductSite site, const Queue& queue, const GpuProduct& product,
                     double own_us);
  Status try_rows(ProductSite site, int32_t num_rows);

  const ProductTrialScene& scene_;
  GpuProductLibrary* const library_;  // null: our tiles only
  GpuProducts& products_;
  std::vector<uint16_t> pattern_;
  // Of the site at hand: rows from which on the library wins, and by how much at the most rows.
  int32_t first_rows_ = 0;
  double last_gain_ = 0;
};

int32_t num_layers_of(const GpuWeights& weights) {
  return static_cast<int32_t>(weights.layers.size());
}

Trials::Queue Trials::queue_of(ProductSite site) {
  const auto linear = [this, site](const GpuMatrix& matrix, const float* bias, float* out,
                                   int32_t num_rows) {
    LinearArgs args;
    args.matrix = matrix;
    args.x = input_of(site);
    args.x_type = scene_.type;
    args.num_rows = num_rows;
    args.bias = bias;
    args.out = out;
    args.out_stride = matrix.rows;
    args.add_to_out = site == ProductSite::kO || site == ProductSite::kDown;
    args.has_matrix_units = scene_.device.info().has_bf16_matrix_units();
    products_.linear(scene_.device.stream(), site, args);
  };
  return [this, site, linear](int32_t num_rows, int32_t index) {
    const GpuLayerWeights& layer = scene_.weights.layers[static_cast<size_t>(index)];
    switch (site) {
      case ProductSite::kQkv:
        return linear(layer.qkv.front(), layer.qkv_bias, scene_.workspace.qkv, num_rows);
      case ProductSite::kO:
        return linear(layer.o, nullptr, scene_.workspace.x, num_rows);
      case ProductSite::kDown:
        return linear(layer.down, nullptr, scene_.workspace.x, num_rows);
      case ProductSite::kHead:
        return linear(scene_.weights.head, nullptr, scene_.logits, num_rows);
      case ProductSite::kGateUp:
        break;
    }
    GatedLinearArgs args;
    args.gate = layer.gate;
    args.up = layer.up;
    args.x = input_of(site);
    args.x_type = scene_.type;
    args.num_rows = num_rows;
    args.out = scene_.workspace.activated;
    args.has_matrix_units = scene_.device.info().has_bf16_matrix_units();
    products_.gated(scene_.device.stream(), args);
  };
}

const void* Trials::input_of(ProductSite site) const {
  const GpuWorkspace& workspace = scene_.workspace;
  switch (site) {
    case ProductSite::kO:
      return workspace.attended;
    case ProductSite::kDown:
      return workspace.activated;
    case ProductSite::kHead:
      return workspace.logit_inputs;
    default:
      return workspace.hidden;
  }
}

int32_t Trials::width_of(ProductSite site) const {
  if (site == ProductSite::kO) return scene_.config.q_size();
  return site == ProductSite::kDown ? scene_.config.intermediate_size : scene_.config.hidden_size;
}

std::byte* Trials::output_of(ProductSite site) const {
  const GpuWorkspace& workspace = scene_.workspace;
  switch (site) {
    case ProductSite::kQkv:
      return reinterpret_cast<std::byte*>(workspace.qkv);
    case ProductSite::kGateUp:
      return static_cast<std::byte*>(workspace.activated);
    case ProductSite::kHead:
      return reinterpret_cast<std::byte*>(scene_.logits);
    default:
      return reinterpret_cast<std::byte*>(workspace.x);
  }
}

int64_t Trials::output_row_bytes(ProductSite site) const {
  const ModelConfig& config = scene_.config;
  constexpr int64_t kFloat = 4, kHalf = 2;
  switch (site) {
    case ProductSite::kQkv:
      return kFloat * (config.q_size() + 2 * config.kv_size());
    case ProductSite::kGateUp:
      return kHalf * config.intermediate_size;
    case ProductSite::kHead:
      return kFloat * config.vocab_size;
    default:
      return kFloat * config.hidden_size;
  }
}

// Of the first layer; others may differ, which GpuProducts sees.
const GpuMatrix& Trials::matrix_of(ProductSite site) const {
  const GpuLayerWeights& layer = scene_.weights.layers.front();
  switch (site) {
    case ProductSite::kQkv:
      return layer.qkv.front();
    case ProductSite::kO:
      return layer.o;
    case ProductSite::kGateUp:
      return layer.gate;
    case ProductSite::kDown:
      return layer.down;
    case ProductSite::kHead:
      break;
  }
  return scene_.weights.head;
}

bool Trials::describe(ProductSite site, int32_t num_rows, GpuProduct& product) const {
  const GpuMatrix* up = site == ProductSite::kGateUp ? &scene_.weights.layers.front().up : nullptr;
  return GpuProducts::describe(site, matrix_of(site), up, scene_.type, num_rows, product);
}

int32_t Trials::num_in_graph(ProductSite site, int32_t num_rows) const {
  const int32_t num_layers = num_layers_of(scene_.weights);
  if (site == ProductSite::kHead || num_rows > kManyRows) {
    return std::min(kLeastInGraph, num_layers);  // the head is larger than L2 by itself
  }
  const GpuMatrix& matrix = matrix_of(site);
  const int64_t bits = matrix.format == GpuWeightFormat::kInt4
                           ? 4
                           : (matrix.format == GpuWeightFormat::kInt8 ? 8 : 16);
  const int64_t bytes = std::max<int64_t>(int64_t{matrix.rows} * matrix.cols * bits / 8, 1);
  const int64_t wanted = 2 * scene_.device.info().l2_bytes / bytes + 1;
  const auto most = static_cast<int64_t>(num_layers);
  return static_cast<int32_t>(std::min(std::max<int64_t>(wanted, kLeastInGraph), most));
}

Status Trials::fill_inputs(ProductSite site, int32_t num_rows) {
  void* const to = const_cast<void*>(input_of(site));
  const auto total = static_cast<size_t>(num_rows) * static_cast<size_t>(width_of(site)) * 2;
  return repeat_pattern(scene_.staging, to, std::as_bytes(std::span(pattern_)), total);
}

// Of one product. Replayed from a graph: launches cost nothing, and capturing is proven to work.
Result<double> Trials::time_us(ProductSite site, const Queue& queue, int32_t num_rows,
                               double best_us) {
  GpuDevice& device = scene_.device;
  queue(num_rows, 0);  // loads the code, which a capture may forbid
  RETURN_IF_ERROR(device.synchronize());
  RETURN_IF_ERROR(device.begin_capture());
  const int32_t count = num_in_graph(site, num_rows);
  for (int32_t layer = 0; layer < count; ++layer) queue(num_rows, layer);
  ASSIGN_OR_RETURN(const std::unique_ptr<GpuGraph> graph, device.end_capture());
  double us = std::numeric_limits<double>::infinity();
  for (int run = 0; run <= kRuns; ++run) {
    const Clock::time_point begin = Clock::now();
    device.launch(*graph);
    RETURN_IF_ERROR(device.synchronize());
    const std::chrono::duration<double, std::micro> elapsed = Clock::now() - begin;
    us = std::min(us, elapsed.count() / count);
    if (us > kHopeless * best_us) break;
  }
  return us;
}

// The first row that the product computes, the middle one and the last.
Result<std::vector<float>> Trials::result_rows(ProductSite site, const Queue& queue,
                                               int32_t num_rows, int32_t layer) {
  GpuDevice& device = scene_.device;
  const bool adds = site == ProductSite::kO || site == ProductSite::kDown;
  const auto bytes = static_cast<size_t>(output_row_bytes(site));
  const std::array<int32_t, 3> rows = {0, num_rows / 2, num_rows - 1};
  std::byte* out = output_of(site);
  ASSIGN_OR_RETURN(const GpuBuffer pinned,
                   GpuBuffer::create(device, rows.size() * bytes, GpuBuffer::Kind::kPinned));
  // 0x3f3f3f3f is 0.747: a residual that must not be lost; 0xffffffff is NaN.
  device.fill(out, adds ? 0x3f : 0xff, static_cast<size_t>(num_rows) * bytes);
  queue(num_rows, layer);
  for (size_t i = 0; i < rows.size(); ++i) {
    device.copy_to_host(pinned.as<void>(i * bytes), out + static_cast<size_t>(rows[i]) * bytes,
                        bytes);
  }
  RETURN_IF_ERROR(device.synchronize());
  std::vector<float> values;
  if (site != ProductSite::kGateUp) {
    values.assign(pinned.as<float>(), pinned.as<float>() + pinned.size_bytes() / sizeof(float));
    return values;
  }
  for (size_t i = 0; i < pinned.size_bytes() / sizeof(uint16_t); ++i) {
    const uint16_t bits = pinned.as<uint16_t>()[i];
    values.push_back(scene_.type == GpuFloat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits));
  }
  return values;
}

// The tiles that are fastest stay set. Larger ones that this card refuses are passed over.
Result<double> Trials::try_tiles(ProductSite site, const Queue& queue, int32_t num_rows) {
  double best_us = std::numeric_limits<double>::infinity();
  LinearTiles best = LinearTiles::kByRows;
  for (const LinearTiles tiles : kTiles) {
    products_.set_tiles(site, num_rows, tiles);
    const Result<double> us = time_us(site, queue, num_rows, best_us);
    if (!us.ok() && tiles == LinearTiles::kByRows) return us;
    if (!us.ok() || *us >= best_us) continue;
    best_us = *us;
    best = tiles;
  }
  products_.set_tiles(site, num_rows, best);
  return best_us;
}

// Against our kernel, the larger of the first and the last layer's. The way stays in the table.
Result<double> Trials::error_of_library(ProductSite site, const Queue& queue, int32_t num_rows,
                                        std::unique_ptr<GpuProductPlan> way) {
  const std::array<int32_t, 2> layers = {0, num_layers_of(scene_.weights) - 1};
  std::array<std::vector<float>, 2> expected;
  for (size_t i = 0; i < layers.size(); ++i) {
    ASSIGN_OR_RETURN(expected[i], result_rows(site, queue, num_rows, layers[i]));
  }
  products_.set_plan(site, num_rows, std::move(way));
  double most = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    ASSIGN_OR_RETURN(const std::vector<float> found, result_rows(site, queue, num_rows, layers[i]));
    const double error = relative_error(found, expected[i]);
    most = error <= most ? most : error;  // NaN stays
  }
  return most;
}

// Leaves the fastest way of the library in the table if it wins and is right.
Status Trials::try_library(ProductSite site, const Queue& queue, const GpuProduct& product,
                           double own_us) {
  const int32_t num_rows = product.num_x_rows;
  double best_us = std::numeric_limits<double>::infinity();
  std::unique_ptr<GpuProductPlan> best;
  for (std::unique_ptr<GpuProductPlan>& way : library_->find(product, kMostWays)) {
    products_.set_plan(site, num_rows, std::move(way));
    const Result<double> way_us = time_us(site, queue, num_rows, best_us);
    std::unique_ptr<GpuProductPlan> tried = products_.take_plan(site, num_rows);
    // A way that fails was dropped by the table itself.
    if (tried == nullptr || !way_us.ok() || *way_us >= best_us) continue;
    best_us = *way_us;
    best = std::move(tried);
  }
  if (best == nullptr || best_us > scene_.margin * own_us) return ok_status();
  ASSIGN_OR_RETURN(const double error, error_of_library(site, queue, num_rows, std::move(best)));
  if (!(error <= kMostError)) {
    log_warning("{} of {} rows: the library's result is off by {:.1e}, our own kernel computes it",
                product_site_name(site), num_rows, error);
    products_.set_plan(site, num_rows, nullptr);
    return ok_status();
  }
  log_debug("{} of {} rows: our kernel {:.1f} us, the library {:.1f} us", product_site_name(site),
            num_rows, own_us, best_us);
  if (first_rows_ == 0) first_rows_ = num_rows;
  last_gain_ = own_us / best_us;
  return ok_status();
}

Status Trials::try_rows(ProductSite site, int32_t num_rows) {
  if (site == ProductSite::kQkv && scene_.weights.layers.front().qkv.size() != 1) {
    return ok_status();
  }
  const Queue queue = queue_of(site);
  ASSIGN_OR_RETURN(const double own_us, try_tiles(site, queue, num_rows));
  GpuProduct product;
  if (library_ == nullptr || !describe(site, num_rows, product)) return ok_status();
  return try_library(site, queue, product, own_us);
}

Result<std::string> Trials::run() {
  pattern_ = trial_pattern(scene_.type);
  const Clock::time_point begin = Clock::now();
  std::vector<std::string> taken;
  for (const ProductSite site : kProductSites) {
    first_rows_ = 0;
    const std::vector<int32_t> all_rows = products_.rows_of(site);
    if (!all_rows.empty()) RETURN_IF_ERROR(fill_inputs(site, all_rows.back()));
    for (const int32_t num_rows : all_rows) RETURN_IF_ERROR(try_rows(site, num_rows));
    if (first_rows_ == 0) continue;
    taken.push_back(fmt::format("{} from {} rows on ({:.1f} times as fast for the most)",
                                product_site_name(site), first_rows_, last_gain_));
  }
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  if (library_ == nullptr) return fmt::format("Products were tried for {:.1f} s", elapsed.count());
  return fmt::format(
      "Products were tried for {:.1f} s; {} computes {}", elapsed.count(), library_->name(),
      taken.empty() ? "none: our kernels are faster" : fmt::format("{}", fmt::join(taken, "; ")));
}

}  // namespace

Result<std::string> choose_products(const ProductTrialScene& scene, GpuProductLibrary* library,
                                    GpuProducts& products) {
  return Trials(scene, library, products).run();
}

}  // namespace sparrow
