#include "model/cuda/gpu_products.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"

namespace sparrow {
namespace {

bool is_plain(const GpuMatrix& matrix) { return matrix.group == 0; }

bool has_type(const GpuMatrix& matrix, GpuFloat type) {
  return matrix.format ==
         (type == GpuFloat::kBF16 ? GpuWeightFormat::kBF16 : GpuWeightFormat::kF16);
}

int32_t next_product_rows(int32_t rows) {
  if (rows < 64) return rows + 8;
  if (rows < 256) return rows + 32;
  if (rows < 512) return rows + 64;
  return rows + std::max(128, rows / 8 / 128 * 128);
}

// What the library multiplies with: of a gate and what lies behind it, both.
GpuMatrix joined(const GpuMatrix& matrix, const GpuMatrix* up) {
  GpuMatrix all = matrix;
  if (up != nullptr) all.rows *= 2;
  return all;
}

bool lies_behind(const GpuMatrix& gate, const GpuMatrix& up) {
  const auto ends = [](const void* begin, int64_t bytes) {
    return static_cast<const std::byte*>(begin) + bytes;
  };
  const int64_t num_values = int64_t{gate.rows} * gate.cols;
  if (is_plain(gate)) return ends(gate.values, num_values * 2) == up.values;
  const int64_t num_groups = num_values / gate.group;
  const int64_t value_bytes = gate.format == GpuWeightFormat::kInt4 ? num_values / 2 : num_values;
  return ends(gate.values, value_bytes) == up.values &&
         ends(gate.scales, num_groups * (gate.has_f32_scales ? 4 : 2)) == up.scales &&
         (gate.zeros == nullptr) == (up.zeros == nullptr) &&
         (gate.zeros == nullptr || gate.zeros + num_groups == up.zeros);
}

}  // namespace

const char* product_site_name(ProductSite site) {
  switch (site) {
    case ProductSite::kQkv:
      return "QKV";
    case ProductSite::kO:
      return "output";
    case ProductSite::kGateUp:
      return "gate and up";
    case ProductSite::kDown:
      return "down";
    case ProductSite::kHead:
      return "head";
  }
  return "";
}

std::vector<int32_t> product_rows(int32_t max_rows) {
  std::vector<int32_t> all;
  if (max_rows <= kMaxRowDots) return all;
  for (int32_t rows = 16; rows < max_rows; rows = next_product_rows(rows)) all.push_back(rows);
  all.push_back(max_rows);
  return all;
}

GpuProducts::GpuProducts(GpuDevice& device, int32_t max_rows, int32_t max_logit_rows,
                         const GpuProductScratch& scratch)
    : device_(device), scratch_(scratch) {
  for (const ProductSite site : kProductSites) {
    const int32_t most = site == ProductSite::kHead ? max_logit_rows : max_rows;
    for (const int32_t rows : product_rows(most)) entries(site).push_back({.num_rows = rows});
  }
}

bool GpuProducts::describe(ProductSite site, const GpuMatrix& matrix, const GpuMatrix* up,
                           GpuFloat type, int32_t num_rows, GpuProduct& product) {
  if (up != nullptr && !lies_behind(matrix, *up)) return false;
  if (is_plain(matrix) && !has_type(matrix, type)) return false;
  // The head is too large to be expanded for a few rows.
  if (!is_plain(matrix) && site == ProductSite::kHead) return false;
  const GpuMatrix all = joined(matrix, up);
  constexpr int32_t kPiece = 8;  // 16 bytes
  if (all.rows % kPiece != 0 || all.cols % kPiece != 0) return false;
  product = {};
  product.rows = all.rows;
  product.cols = all.cols;
  product.num_x_rows = num_rows;
  product.type = type;
  product.has_f32_out = site != ProductSite::kGateUp;
  product.has_bias = site == ProductSite::kQkv;
  product.add_to_out = site == ProductSite::kO || site == ProductSite::kDown;
  return true;
}

std::vector<int32_t> GpuProducts::rows_of(ProductSite site) const {
  std::vector<int32_t> rows;
  for (const Entry& entry : table_[static_cast<size_t>(site)]) rows.push_back(entry.num_rows);
  return rows;
}

void GpuProducts::set_plan(ProductSite site, int32_t num_rows,
                           std::unique_ptr<GpuProductPlan> plan) {
  find_entry(site, num_rows)->plan = std::move(plan);
}

void GpuProducts::set_tiles(ProductSite site, int32_t num_rows, LinearTiles tiles) {
  find_entry(site, num_rows)->tiles = tiles;
}

LinearTiles GpuProducts::tiles_for(ProductSite site, int32_t num_rows) {
  const Entry* entry = num_rows > kMaxRowDots ? find_entry(site, num_rows) : nullptr;
  return entry != nullptr ? entry->tiles : LinearTiles::kByRows;
}

std::unique_ptr<GpuProductPlan> GpuProducts::take_plan(ProductSite site, int32_t num_rows) {
  return std::move(find_entry(site, num_rows)->plan);
}

GpuProducts::Entry* GpuProducts::find_entry(ProductSite site, int32_t num_rows) {
  std::vector<Entry>& all = entries(site);
  const auto found =
      std::lower_bound(all.begin(), all.end(), num_rows,
                       [](const Entry& entry, int32_t rows) { return entry.num_rows < rows; });
  return found == all.end() ? nullptr : &*found;
}

// False: nothing was queued that matters.
bool GpuProducts::by_library(ProductSite site, const GpuMatrix& matrix, const GpuMatrix* up,
                             GpuFloat type, int32_t num_rows, const GpuProductOperands& operands) {
  if (num_rows <= kMaxRowDots) return false;
  Entry* const entry = find_entry(site, num_rows);
  if (entry == nullptr || entry->plan == nullptr) return false;
  GpuProduct product;  // layers may differ in what they hold
  if (!describe(site, matrix, up, type, num_rows, product)) return false;
  GpuProductOperands all = operands;
  all.weights = matrix.values;
  if (!is_plain(matrix)) {
    device_.kernels().expand_matrix(device_.stream(),
                                    {joined(matrix, up), scratch_.expanded, type});
    all.weights = scratch_.expanded;
  }
  const Status queued = entry->plan->queue(all);
  if (queued.ok()) return true;
  log_warning("{} of {} rows: the library fails, our own kernel takes over: {}",
              product_site_name(site), entry->num_rows, queued.message());
  entry->plan.reset();
  return false;
}

void GpuProducts::linear(GpuStream stream, ProductSite site, const LinearArgs& args) {
  const bool has_gaps = args.out_stride != args.matrix.rows;
  const bool by_site = args.add_to_out == (site == ProductSite::kO || site == ProductSite::kDown) &&
                       (args.bias != nullptr) == (site == ProductSite::kQkv);
  CHECK(by_site);
  if (!has_gaps && by_library(site, args.matrix, nullptr, args.x_type, args.num_rows,
                              {nullptr, args.x, args.bias, args.out})) {
    return;
  }
  LinearArgs own = args;
  own.tiles = tiles_for(site, args.num_rows);
  device_.kernels().linear(stream, own);
}

void GpuProducts::gated(GpuStream stream, const GatedLinearArgs& args) {
  if (!by_library(ProductSite::kGateUp, args.gate, &args.up, args.x_type, args.num_rows,
                  {nullptr, args.x, nullptr, scratch_.gate_up})) {
    GatedLinearArgs own = args;
    own.tiles = tiles_for(ProductSite::kGateUp, args.num_rows);
    device_.kernels().gated_linear(stream, own);
    return;
  }
  SiluMultiplyArgs silu;
  silu.in = scratch_.gate_up;
  silu.out = args.out;
  silu.type = args.x_type;
  silu.num_rows = args.num_rows;
  silu.n = args.gate.rows;
  device_.kernels().silu_multiply(stream, silu);
}

}  // namespace sparrow
