#pragma once
// GpuProducts: the products of a forward pass of more than 8 rows, each by our own kernel, with the
// tiles that were fastest, or by a library, whichever won for so many rows when it was tried on
// this card (product_trials.h). Tiles change no bit of a result; a library does.
//
// A library's product runs for the next larger number of rows it was tried with (product_rows()):
// the rows behind the step's own are computed from what lies there and never read. Buffers are as
// large as the largest step, so they are there. Integer matrices are expanded to 16 bits first, if
// that was faster. A way that the library refuses later is dropped, and our kernels take over.

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cuda/gpu_device.h"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/product_library.h"

namespace sparrow {

enum class ProductSite : uint8_t { kQkv, kO, kGateUp, kDown, kHead };
inline constexpr std::array kProductSites = {ProductSite::kQkv, ProductSite::kO,
                                             ProductSite::kGateUp, ProductSite::kDown,
                                             ProductSite::kHead};
const char* product_site_name(ProductSite site);

// The numbers of rows a library is tried with: 16, then steps of 8 up to 64, of 32 up to 256, of 64
// up to 512, of 128 and at most an eighth beyond; the last is max_rows. Empty below 9 rows.
std::vector<int32_t> product_rows(int32_t max_rows);

// Memory that library products need beside the operands; null without a library.
struct GpuProductScratch {
  void* gate_up = nullptr;   // 16 bits [T][2 I]
  void* expanded = nullptr;  // 16 bits, the largest integer matrix of a layer
};

class GpuProducts {
 public:
  // max_rows: T, of the head max_logit_rows. The device outlives it.
  GpuProducts(GpuDevice& device, int32_t max_rows, int32_t max_logit_rows,
              const GpuProductScratch& scratch);

  void linear(GpuStream stream, ProductSite site, const LinearArgs& args);
  // Gate and up lie one behind the other (GpuWeights), else the library is not asked.
  void gated(GpuStream stream, const GatedLinearArgs& args);

  // The product of a site for so many rows; false: the library has no way to compute it. up: with
  // a gate, the matrix behind it.
  static bool describe(ProductSite site, const GpuMatrix& matrix, const GpuMatrix* up,
                       GpuFloat type, int32_t num_rows, GpuProduct& product);
  std::vector<int32_t> rows_of(ProductSite site) const;
  // Null: our kernels. From now on steps that need `num_rows`, one of rows_of(), take this one.
  void set_plan(ProductSite site, int32_t num_rows, std::unique_ptr<GpuProductPlan> plan);
  void set_tiles(ProductSite site, int32_t num_rows, LinearTiles tiles);
  std::unique_ptr<GpuProductPlan> take_plan(ProductSite site, int32_t num_rows);
  bool has_plan(ProductSite site, int32_t num_rows) {
    const Entry* entry = find_entry(site, num_rows);
    return entry != nullptr && entry->plan != nullptr;
  }

 private:
  struct Entry {
    int32_t num_rows = 0;
    LinearTiles tiles = LinearTiles::kByRows;
    std::unique_ptr<GpuProductPlan> plan;
  };
  LinearTiles tiles_for(ProductSite site, int32_t num_rows);
  Entry* find_entry(ProductSite site, int32_t num_rows);
  std::vector<Entry>& entries(ProductSite site) { return table_[static_cast<size_t>(site)]; }
  bool by_library(ProductSite site, const GpuMatrix& matrix, const GpuMatrix* up, GpuFloat type,
                  int32_t num_rows, const GpuProductOperands& operands);

  GpuDevice& device_;
  const GpuProductScratch scratch_;
  std::array<std::vector<Entry>, kProductSites.size()> table_;  // ascending rows
};

}  // namespace sparrow
