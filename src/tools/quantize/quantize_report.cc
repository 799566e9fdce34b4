#include "tools/quantize/quantize_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"

namespace sparrow {
namespace {

constexpr size_t kNumWorst = 5;

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

std::string size_of(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size >= 1e9 ? fmt::format("{:.2f} GB", size * 1e-9)
                     : fmt::format("{:.2f} MB", size * 1e-6);
}

class JsonObject {
 public:
  void number(const char* name, double value) { append_json_number(key(name), value); }
  void count(const char* name, uint64_t value) { key(name) += fmt::format("{}", value); }
  void text(const char* name, std::string_view value) { append_json_string(key(name), value); }
  void raw(const char* name, std::string_view json) { key(name) += json; }
  std::string take() { return text_ + "}"; }

 private:
  std::string& key(const char* name) {
    text_ += fmt::format("{}\"{}\":", text_.size() > 1 ? "," : "", name);
    return text_;
  }
  std::string text_ = "{";
};

struct TypeTotal {
  int64_t tensors = 0;
  int64_t values = 0;
  uint64_t bytes = 0;
};

std::string type_lines(const QuantizeReport& report) {
  std::map<TensorType, TypeTotal> totals;
  for (const TensorReport& tensor : report.tensors) {
    TypeTotal& total = totals[tensor.to];
    ++total.tensors;
    total.values += tensor.num_values();
    total.bytes += tensor.bytes;
  }
  std::vector<std::pair<TensorType, TypeTotal>> ordered(totals.begin(), totals.end());
  std::sort(ordered.begin(), ordered.end(),
            [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string out = fmt::format("{:<8} {:>8} {:>15} {:>12} {:>8}  {}\n", "type", "tensors",
                                "values", "size", "bits", "share");
  for (const auto& [type, total] : ordered) {
    out += fmt::format(
        "{:<8} {:>8} {:>15} {:>12} {:>8.4g}  {:.1f} %\n", tensor_type_info(type).name,
        total.tensors, total.values, size_of(total.bytes), bits_per_weight(type),
        percent(static_cast<double>(total.bytes), static_cast<double>(report.result_bytes)));
  }
  return out;
}

std::string worst_lines(const QuantizeReport& report) {
  std::vector<const TensorReport*> ordered;
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.square_error > 0) ordered.push_back(&tensor);
  }
  if (ordered.empty()) return "every value is exactly that of the source\n";
  std::sort(ordered.begin(), ordered.end(), [](const TensorReport* a, const TensorReport* b) {
    return a->relative_rms_error() > b->relative_rms_error();
  });
  std::string out = "largest relative errors:\n";
  for (size_t i = 0; i < std::min(ordered.size(), kNumWorst); ++i) {
    out +=
        fmt::format("  {:<48} {:<6} {:7.3f} %\n", ordered[i]->name,
                    tensor_type_info(ordered[i]->to).name, 100 * ordered[i]->relative_rms_error());
  }
  return out;
}

std::string tensor_json(const TensorReport& tensor) {
  JsonObject object;
  object.text("name", tensor.name);
  object.text("from", tensor_type_info(tensor.from).name);
  object.text("to", tensor_type_info(tensor.to).name);
  object.raw("shape", tensor.is_vector ? fmt::format("[{}]", tensor.cols)
                                       : fmt::format("[{},{}]", tensor.rows, tensor.cols));
  object.count("bytes", tensor.bytes);
  object.number("bits_per_weight", tensor.bits_per_weight());
  object.number("relative_rms_error", tensor.relative_rms_error());
  object.number("max_abs_error", tensor.largest_error);
  object.number("standard_deviation", tensor.standard_deviation);
  object.count("outliers", static_cast<uint64_t>(tensor.num_outliers));
  return object.take();
}

}  // namespace

double TensorReport::relative_rms_error() const {
  return square_sum > 0 ? std::sqrt(square_error / square_sum) : 0;
}

double TensorReport::bits_per_weight() const {
  return num_values() > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(num_values())
                          : 0;
}

int64_t QuantizeReport::num_values() const {
  int64_t values = 0;
  for (const TensorReport& tensor : tensors) values += tensor.num_values();
  return values;
}

double QuantizeReport::bits_per_weight() const {
  const auto values = static_cast<double>(num_values());
  return values > 0 ? 8.0 * static_cast<double>(result_bytes) / values : 0;
}

double QuantizeReport::relative_rms_error() const {
  double error = 0, sum = 0;
  for (const TensorReport& tensor : tensors) {
    if (tensor.is_vector) continue;
    error += tensor.square_error;
    sum += tensor.square_sum;
  }
  return sum > 0 ? std::sqrt(error / sum) : 0;
}

std::string tensor_table(const QuantizeReport& report) {
  std::string out =
      fmt::format("{:<48} {:>16} {:>6} {:>7} {:>7} {:>11} {:>11} {:>9}\n", "tensor", "shape",
                  "from", "to", "bits", "rel rms err", "max error", "outliers");
  for (const TensorReport& tensor : report.tensors) {
    const std::string shape = tensor.is_vector ? fmt::format("{}", tensor.cols)
                                               : fmt::format("{} x {}", tensor.rows, tensor.cols);
    out +=
        fmt::format("{:<48} {:>16} {:>6} {:>7} {:>7.4g} {:>10.4f}% {:>11.4g} {:>9}\n", tensor.name,
                    shape, tensor_type_info(tensor.from).name, tensor_type_info(tensor.to).name,
                    tensor.bits_per_weight(), 100 * tensor.relative_rms_error(),
                    tensor.largest_error, tensor.num_outliers);
  }
  return out + "outliers: values further than six standard deviations from their tensor's mean\n";
}

std::string summary_text(const QuantizeReport& report) {
  std::string out = fmt::format("{} ({}, {}) -> {} ({}, {})\n", report.source, report.source_format,
                                size_of(report.source_bytes), report.result, report.mix,
                                size_of(report.result_bytes));
  out += type_lines(report);
  out += fmt::format(
      "{:.3f} bits per weight, {:.1f} % of the source's size; relative RMS error of the matrices "
      "{:.4f} %; {:.1f} s\n",
      report.bits_per_weight(),
      percent(static_cast<double>(report.result_bytes), static_cast<double>(report.source_bytes)),
      100 * report.relative_rms_error(), report.seconds);
  out += worst_lines(report);
  for (const std::string& warning : report.warnings) out += "warning: " + warning + "\n";
  return out;
}

std::string report_json(const QuantizeReport& report, std::string_view fit,
                        std::string_view calibration, std::string_view evaluation) {
  std::string tensors, warnings;
  for (const TensorReport& tensor : report.tensors) {
    tensors += (tensors.empty() ? "\n" : ",\n") + tensor_json(tensor);
  }
  for (const std::string& warning : report.warnings) {
    warnings += warnings.empty() ? "" : ",";
    append_json_string(warnings, warning);
  }
  JsonObject object;
  object.text("source", report.source);
  object.text("source_format", report.source_format);
  object.text("result", report.result);
  object.text("type", report.mix);
  object.count("source_bytes", report.source_bytes);
  object.count("result_bytes", report.result_bytes);
  object.count("values", static_cast<uint64_t>(report.num_values()));
  object.number("bits_per_weight", report.bits_per_weight());
  object.number("relative_rms_error", report.relative_rms_error());
  object.number("seconds", report.seconds);
  object.raw("warnings", "[" + warnings + "]");
  if (!fit.empty()) object.raw("fit", fit);
  if (!calibration.empty()) object.raw("calibration", calibration);
  if (!evaluation.empty()) object.raw("evaluation", evaluation);
  object.raw("tensors", "[" + tensors + "]");
  return object.take();
}

}  // namespace sparrow
