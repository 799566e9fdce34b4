#include "tools/quantize/quantize_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/compute_pool.h"
#include "model/writers/model_writer.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "tools/quantize/out_path.h"
#include "tools/quantize/scale_search.h"

namespace sparrow {
namespace {

// Values of one unit of work: a thread's rows stay in its cache, and sums are taken unit by unit,
// so that they do not depend on the threads.
constexpr int64_t kUnitValues = 32 * 1024;
// Values converted before a write: two buffers of at most this many fp32 values are in memory.
constexpr int64_t kPieceValues = 4 * 1024 * 1024;
constexpr size_t kWorthAThread = 1u << 20;
constexpr double kOutlierDeviations = 6;

struct ValueSums {
  double sum = 0;
  double squares = 0;
};

struct ErrorSums {
  double squares = 0;
  double largest = 0;
  int64_t outliers = 0;
};

// Per worker: rows as fp32, of the source and of the result.
struct Scratch {
  std::vector<float> values;
  std::vector<float> back;
};

class Converter {
 public:
  Converter(const TensorSource& source, ModelWriter& writer, const QuantizeOptions& options,
            const QuantizeProgressCallback& report)
      : source_(source),
        writer_(writer),
        options_(options),
        report_(report),
        pool_(options.num_threads),
        scratch_(static_cast<size_t>(pool_.num_threads())) {
    for (const PlannedTensor& tensor : writer.tensors()) {
      progress_.total_values += static_cast<uint64_t>(tensor.rows * tensor.cols);
    }
  }

  const QuantizeProgress& progress() const { return progress_; }

  Result<std::vector<TensorReport>> run() {
    std::vector<TensorReport> reports;
    Status status;
    for (const PlannedTensor& tensor : writer_.tensors()) {
      Result<TensorReport> report = convert(tensor);
      if (!report.ok()) {
        status = report.status();
        break;
      }
      reports.push_back(std::move(report).value());
    }
    const Status last = wait_for_write();
    if (!status.ok()) return status;
    if (!last.ok()) return last;
    return reports;
  }

 private:
  Result<TensorReport> convert(const PlannedTensor& tensor) {
    ASSIGN_OR_RETURN(const SourceTensor source, source_.tensor(tensor.name));
    CHECK(source.rows == tensor.rows && source.cols == tensor.cols);
    fold_ = TensorFold(options_.channel_scales, source_.config(), tensor.name);
    TensorReport report;
    report.name = tensor.name;
    report.from = source.type;
    report.to = tensor.type;
    report.rows = tensor.rows;
    report.cols = tensor.cols;
    report.is_vector = tensor.is_vector;
    report.bytes = stored_bytes(tensor.type, tensor.rows, tensor.cols, writer_.scale_type());
    RETURN_IF_ERROR(measure(tensor, source, report));
    const int64_t piece_rows = std::max<int64_t>(1, kPieceValues / tensor.cols);
    for (int64_t begin = 0; begin < tensor.rows; begin += piece_rows) {
      const int64_t rows = std::min(piece_rows, tensor.rows - begin);
      RETURN_IF_ERROR(convert_piece(tensor, source, begin, rows, report));
    }
    source_.release(source);
    return report;
  }

  static int64_t unit_rows(const PlannedTensor& tensor) {
    return std::max<int64_t>(1, kUnitValues / tensor.cols);
  }

  // Calls body(first row, end row, scratch, unit) for all units of `rows` rows.
  template <typename Body>
  void for_units(const PlannedTensor& tensor, int64_t rows, Body&& body) {
    const int64_t step = unit_rows(tensor);
    pool_.parallel_for((rows + step - 1) / step, [&](int64_t unit, int worker) {
      Scratch& scratch = scratch_[static_cast<size_t>(worker)];
      scratch.values.resize(static_cast<size_t>(tensor.cols));
      scratch.back.resize(static_cast<size_t>(tensor.cols));
      body(unit * step, std::min(rows, (unit + 1) * step), scratch, static_cast<size_t>(unit));
    });
  }

  static const std::byte* row_of(const SourceTensor& source, int64_t row) {
    return source.bytes.data() + static_cast<size_t>(row) * source.row_bytes();
  }

  Status check_cancelled() const {
    if (options_.cancelled == nullptr || !options_.cancelled->load(std::memory_order_relaxed)) {
      return ok_status();
    }
    return Status(StatusCode::kCancelled,
                  fmt::format("interrupted: {} was not written", options_.out_path));
  }

  // First pass: refuses what is not a number, finds mean and deviation (and with them what an
  // outlier is).
  Status measure(const PlannedTensor& tensor, const SourceTensor& source, TensorReport& report) {
    RETURN_IF_ERROR(check_cancelled());
    const int64_t num_units = (tensor.rows + unit_rows(tensor) - 1) / unit_rows(tensor);
    std::vector<ValueSums> sums(static_cast<size_t>(num_units));
    std::vector<int64_t> bad(sums.size(), -1);
    for_units(tensor, tensor.rows, [&](int64_t begin, int64_t end, Scratch& scratch, size_t unit) {
      const size_t bytes = static_cast<size_t>(end - begin) * source.row_bytes();
      const int64_t element = first_non_finite(source.type, {row_of(source, begin), bytes});
      if (element >= 0) bad[unit] = begin + element / tensor.cols;
      for (int64_t row = begin; row < end; ++row) {
        dequantize_row(source.type, row_of(source, row), tensor.cols, scratch.values.data());
        fold_.apply(row, scratch.values);
        for (const float value : scratch.values) {
          sums[unit].sum += value;
          sums[unit].squares += double{value} * value;
        }
      }
    });
    for (const int64_t row : bad) {
      if (row < 0) continue;
      return data_loss(
          fmt::format("tensor {}: row {}: a value or scale is not a finite number; "
                      "the source is damaged",
                      tensor.name, row));
    }
    double sum = 0;
    for (const ValueSums& unit : sums) {
      sum += unit.sum;
      report.square_sum += unit.squares;
    }
    const double count = static_cast<double>(report.num_values());
    mean_ = sum / count;
    report.standard_deviation = std::sqrt(std::max(0.0, report.square_sum / count - mean_ * mean_));
    return ok_status();
  }

  Status convert_piece(const PlannedTensor& tensor, const SourceTensor& source, int64_t begin,
                       int64_t rows, TensorReport& report) {
    RETURN_IF_ERROR(check_cancelled());
    const size_t row_bytes = tensor_row_bytes(tensor.type, tensor.cols);
    std::vector<std::byte>& piece = pieces_[next_piece_];
    piece.resize(static_cast<size_t>(rows) * row_bytes);
    const int64_t num_units = (rows + unit_rows(tensor) - 1) / unit_rows(tensor);
    std::vector<ErrorSums> sums(static_cast<size_t>(num_units));
    std::vector<int64_t> bad(sums.size(), -1);
    for_units(tensor, rows, [&](int64_t first, int64_t end, Scratch& scratch, size_t unit) {
      for (int64_t row = first; row < end; ++row) {
        std::byte* out = piece.data() + static_cast<size_t>(row) * row_bytes;
        convert_row(tensor, source, begin + row, scratch, out);
        if (bad[unit] < 0 && first_non_finite(tensor.type, {out, row_bytes}) >= 0) {
          bad[unit] = begin + row;
        }
        add_errors(scratch, report.standard_deviation, sums[unit]);
      }
    });
    for (const int64_t row : bad) {
      if (row >= 0) return does_not_fit(tensor, source, row);
    }
    for (const ErrorSums& unit : sums) {
      report.square_error += unit.squares;
      report.largest_error = std::max(report.largest_error, unit.largest);
      report.num_outliers += unit.outliers;
    }
    RETURN_IF_ERROR(wait_for_write());
    start_write(piece);
    next_piece_ = 1 - next_piece_;
    progress_.done_values += static_cast<uint64_t>(rows * tensor.cols);
    progress_.written_bytes += piece.size();
    progress_.tensor = tensor.name;
    if (report_) report_(progress_);
    return ok_status();
  }

  // A type that stays is copied: quantizing twice may move values. (Not grouped integers: those of
  // other makers have zero points or scales that our files do not.)
  void convert_row(const PlannedTensor& tensor, const SourceTensor& source, int64_t row,
                   Scratch& scratch, std::byte* out) const {
    const std::byte* in = row_of(source, row);
    const TensorType type = tensor.type, scales = writer_.scale_type();
    dequantize_row(source.type, in, tensor.cols, scratch.values.data());
    fold_.apply(row, scratch.values);
    if (is_int_group(type)) {
      quantize_grouped_row(type, scales, scratch.values.data(), fold_.importance(), tensor.cols,
                           out);
    } else if (source.type == type && !fold_.changes_values()) {
      std::copy_n(in, source.row_bytes(), out);
      scratch.back = scratch.values;
      return;
    } else {
      quantize_row(type, scratch.values.data(), tensor.cols, out);
    }
    dequantize_row(type, out, tensor.cols, scratch.back.data());
  }

  void add_errors(const Scratch& scratch, double deviation, ErrorSums& sums) const {
    const double limit = kOutlierDeviations * deviation;
    for (size_t i = 0; i < scratch.values.size(); ++i) {
      const double error = std::fabs(double{scratch.back[i]} - scratch.values[i]);
      sums.squares += error * error;
      sums.largest = std::max(sums.largest, error);
      if (deviation > 0 && std::fabs(scratch.values[i] - mean_) > limit) ++sums.outliers;
    }
  }

  static Status does_not_fit(const PlannedTensor& tensor, const SourceTensor& source, int64_t row) {
    std::vector<float> values(static_cast<size_t>(tensor.cols));
    dequantize_row(source.type, row_of(source, row), tensor.cols, values.data());
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(value));
    return failed_precondition(
        fmt::format("tensor {}: row {}: a value of magnitude {:g} does not fit type {}; take bf16 "
                    "or f32",
                    tensor.name, row, largest, tensor_type_info(tensor.type).name));
  }

  void start_write(const std::vector<std::byte>& piece) {
    if (piece.size() < kWorthAThread) {
      write_status_ = writer_.write(piece);
      return;
    }
    write_thread_ = std::thread([this, &piece] { write_status_ = writer_.write(piece); });
  }

  Status wait_for_write() {
    if (write_thread_.joinable()) write_thread_.join();
    return write_status_;
  }

  const TensorSource& source_;
  ModelWriter& writer_;
  const QuantizeOptions& options_;
  const QuantizeProgressCallback& report_;
  ComputePool pool_;
  std::vector<Scratch> scratch_;  // one per worker
  double mean_ = 0;               // of the current tensor
  TensorFold fold_;               // of the current tensor
  std::vector<std::byte> pieces_[2];
  size_t next_piece_ = 0;
  std::thread write_thread_;
  Status write_status_;  // of the last write; read after joining
  QuantizeProgress progress_;
};

ModelDescription describe(const ModelFiles& source, bool to_directory) {
  ModelDescription description;
  const std::filesystem::path path(source.path);
  description.name = (path.has_filename() ? path : path.parent_path()).stem().string();
  if (std::filesystem::is_directory(path)) {
    description.name = (path.has_filename() ? path : path.parent_path()).filename().string();
  }
  description.config = source.config;
  if (source.has_tokenizer) description.tokenizer = source.tokenizer;
  description.chat_template = source.chat_template;
  description.generation = source.generation;
  if (to_directory && std::filesystem::is_directory(path)) description.tokenizer_dir = source.path;
  return description;
}

void add_warnings(const QuantizeOptions& options, QuantizeReport& report) {
  int64_t requantized = 0, fell_back = 0;
  for (const TensorReport& tensor : report.tensors) {
    const bool was_quantized = tensor_type_info(tensor.from).block_elements > 1;
    if (was_quantized && tensor.from != tensor.to) ++requantized;
    const bool plain = tensor_type_info(tensor.to).block_elements == 1;
    const bool may_be_plain =
        is_plain_mix(options.mix) ||
        (!fits_gguf(options.mix) && !tensor.name.starts_with("model.layers."));
    if (!tensor.is_vector && plain && !may_be_plain) ++fell_back;
  }
  if (requantized > 0) {
    report.warnings.push_back(fmt::format(
        "{} tensors of the source are quantized already: errors are those against the source, and "
        "the original weights would give a better result",
        requantized));
  }
  if (fell_back > 0) {
    report.warnings.push_back(
        fmt::format("{} matrices have rows that are no multiple of 32 values: they are kept as f16",
                    fell_back));
  }
}

Status check_mix(const QuantizeOptions& options, bool gguf) {
  if (gguf ? fits_gguf(options.mix) : fits_directory(options.mix)) return ok_status();
  return invalid_argument(fmt::format("{}: type {} needs {}", options.out_path,
                                      quant_mix_name(options.mix),
                                      gguf ? "a directory: give a path that does not end in .gguf"
                                           : "a GGUF file: give a path that ends in .gguf"));
}

}  // namespace

Result<TensorType> plain_type_beside_integers(const TensorSource& source) {
  ASSIGN_OR_RETURN(const SourceTensor embedding, source.describe("model.embed_tokens.weight"));
  return embedding.type == TensorType::kF16 ? TensorType::kF16 : TensorType::kBF16;
}

Result<QuantizeReport> quantize_model(const ModelFiles& source, const QuantizeOptions& options,
                                      const QuantizeProgressCallback& progress) {
  const RealClock clock;
  const TimePoint begin = clock.now();
  ASSIGN_OR_RETURN(OutPath out, OutPath::check(source.path, options.out_path, options.overwrite));
  const ModelDescription description = describe(source, !out.is_gguf());
  RETURN_IF_ERROR(check_mix(options, out.is_gguf()));
  ASSIGN_OR_RETURN(const TensorType plain, plain_type_beside_integers(*source.weights));
  const TensorTypeRule rule = [&](const LayoutTensor& tensor) {
    return mix_tensor_type(options.mix, source.config, tensor, out.is_gguf(), plain);
  };
  ASSIGN_OR_RETURN(const std::unique_ptr<ModelWriter> writer,
                   ModelWriter::create(out.write_path(), description, rule));
  QuantizeReport report;
  report.source = source.path;
  report.source_format = source.weights->format_name();
  report.result = options.out_path;
  report.mix = quant_mix_name(options.mix);
  Converter converter(*source.weights, *writer, options, progress);
  ASSIGN_OR_RETURN(report.tensors, converter.run());
  RETURN_IF_ERROR(writer->finish());
  RETURN_IF_ERROR(out.publish());
  for (const TensorReport& tensor : report.tensors) {
    report.source_bytes += stored_bytes(tensor.from, tensor.rows, tensor.cols);
    report.result_bytes += tensor.bytes;
  }
  add_warnings(options, report);
  report.seconds = to_seconds(clock.now() - begin);
  if (progress) progress(converter.progress());
  return report;
}

}  // namespace sparrow
