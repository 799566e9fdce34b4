#pragma once
// For tests: a strict reader of the Prometheus text format 0.0.4. Everything a scraper could
// stumble over is an error with its line: a sample before its TYPE, a family in two places, a bad
// name or escape, labels out of order, a series twice, buckets that are not cumulative, a +Inf
// bucket that is not the count.

#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sparrow {

struct PrometheusText {
  std::map<std::string, double> samples;     // by 'name{label="value",…}' as written
  std::map<std::string, std::string> types;  // by family
  std::vector<std::string> errors;           // empty: well-formed

  bool has(const std::string& series) const { return samples.count(series) != 0; }
  // NaN where there is none, so that every comparison fails.
  double at(const std::string& series) const {
    const auto found = samples.find(series);
    return found == samples.end() ? std::nan("") : found->second;
  }
};

class PrometheusReader {
 public:
  static PrometheusText read(std::string_view text) {
    PrometheusReader reader;
    if (text.empty() || text.back() != '\n') reader.fail("the text does not end with a newline");
    while (!text.empty()) {
      const size_t end = text.find('\n');
      reader.line_ = std::string(text.substr(0, end));
      reader.read_line();
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    reader.check_histograms();
    return std::move(reader.out_);
  }

 private:
  struct Sample {
    std::string name;
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
  };

  void fail(const std::string& what) { out_.errors.push_back(what + ": " + line_); }

  static bool is_name(std::string_view name, bool may_have_colon) {
    if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
    for (const char c : name) {
      const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                        (c >= '0' && c <= '9') || (may_have_colon && c == ':');
      if (!fits) return false;
    }
    return true;
  }

  void read_line() {
    if (line_.rfind("# HELP ", 0) == 0) return begin_family();
    if (line_.rfind("# TYPE ", 0) == 0) return read_type();
    if (line_.empty() || line_[0] == '#') return fail("neither HELP, TYPE nor a sample");
    Sample sample;
    if (read_sample(sample)) add(std::move(sample));
  }

  void begin_family() {
    const size_t end = line_.find(' ', 7);
    if (end == std::string::npos || end + 1 == line_.size()) return fail("HELP without a text");
    family_ = line_.substr(7, end - 7);
    if (!is_name(family_, true)) fail("bad family name");
    if (!families_.insert(family_).second) fail("the family came before");
    for (size_t i = end; i < line_.size(); ++i) {
      if (line_[i] != '\\') continue;
      const char next = i + 1 < line_.size() ? line_[++i] : ' ';
      if (next != '\\' && next != 'n') fail("bad escape in HELP");
    }
  }

  void read_type() {
    const size_t end = line_.find(' ', 7);
    if (end == std::string::npos || line_.substr(7, end - 7) != family_) {
      return fail("TYPE is not of the family above");
    }
    const std::string type = line_.substr(end + 1);
    if (type != "counter" && type != "gauge" && type != "histogram") fail("unknown type");
    if (!out_.types.emplace(family_, type).second) fail("two TYPE lines");
  }

  bool read_sample(Sample& sample) {
    size_t at = line_.find_first_of("{ ");
    sample.name = line_.substr(0, at);
    if (at == std::string::npos || !is_name(sample.name, true)) return fail("bad name"), false;
    if (line_[at] == '{' && !read_labels(at, sample)) return false;
    if (at >= line_.size() || line_[at] != ' ') return fail("no value"), false;
    const std::string value = line_.substr(at + 1);
    char* end = nullptr;
    sample.value = std::strtod(value.c_str(), &end);
    if (value == "+Inf" || value == "-Inf" || value == "NaN") return true;
    const bool is_number = !value.empty() && *end == '\0' &&
                           value.find_first_not_of("0123456789.eE+-") == std::string::npos;
    if (!is_number) fail("bad value");
    return is_number;
  }

  bool read_labels(size_t& at, Sample& sample) {
    ++at;
    while (at < line_.size() && line_[at] != '}') {
      const size_t equals = line_.find("=\"", at);
      if (equals == std::string::npos) return fail("label without a value"), false;
      std::string name = line_.substr(at, equals - at);
      if (!is_name(name, false)) return fail("bad label name"), false;
      if (!sample.labels.empty() && sample.labels.back().first >= name) {
        fail("labels are not sorted, or one stands twice");
      }
      std::string value;
      at = equals + 2;
      while (at < line_.size() && line_[at] != '"') {
        char c = line_[at++];
        if (c == '\\') {
          const char next = at < line_.size() ? line_[at++] : ' ';
          if (next != '\\' && next != '"' && next != 'n') return fail("bad escape"), false;
          c = next == 'n' ? '\n' : next;
        }
        value += c;
      }
      ++at;
      sample.labels.emplace_back(std::move(name), std::move(value));
      if (at < line_.size() && line_[at] == ',') ++at;
    }
    if (at++ >= line_.size()) return fail("labels without an end"), false;
    return true;
  }

  void add(Sample sample) {
    const std::string series = line_.substr(0, line_.rfind(' '));
    if (!out_.samples.emplace(series, sample.value).second) fail("the series stands twice");
    const auto type = out_.types.find(family_);
    if (type == out_.types.end()) return fail("no TYPE before the sample");
    if (type->second == "histogram") return add_to_histogram(std::move(sample));
    if (sample.name != family_) fail("not of the family above");
    if (type->second == "counter" && !(sample.value >= 0)) fail("a negative counter");
  }

  void add_to_histogram(Sample sample) {
    std::string bound;
    std::string key = family_;
    for (const auto& [name, value] : sample.labels) {
      if (name == "le") {
        bound = value;
      } else {
        key += "," + name + "=" + value;
      }
    }
    Buckets& buckets = histograms_[key];
    if (sample.name == family_ + "_bucket") {
      const double upper = bound == "+Inf" ? HUGE_VAL : std::strtod(bound.c_str(), nullptr);
      if (bound.empty()) fail("a bucket without le");
      if (!buckets.bounds.empty() && upper <= buckets.bounds.back()) fail("bounds do not rise");
      if (sample.value < buckets.last) fail("buckets are not cumulative");
      buckets.bounds.push_back(upper);
      buckets.last = sample.value;
    } else if (sample.name == family_ + "_count") {
      if (sample.value != buckets.last) fail("the count is not the +Inf bucket");
      buckets.has_count = true;
    } else if (sample.name == family_ + "_sum") {
      buckets.has_sum = true;
    } else {
      fail("not of the histogram above");
    }
  }

  void check_histograms() {
    for (const auto& [key, buckets] : histograms_) {
      line_ = key;
      if (!buckets.has_count || !buckets.has_sum) fail("a histogram without sum or count");
      if (buckets.bounds.empty() || buckets.bounds.back() != HUGE_VAL) fail("no +Inf bucket");
    }
  }

  struct Buckets {
    std::vector<double> bounds;
    double last = 0;
    bool has_count = false;
    bool has_sum = false;
  };

  PrometheusText out_;
  std::string line_;
  std::string family_;
  std::set<std::string> families_;
  std::map<std::string, Buckets> histograms_;
};

}  // namespace sparrow
