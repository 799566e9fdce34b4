#include "api/request/client_patience.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sparrow::api {
namespace {

constexpr double kLongestMs = 86'400'000;  // a day; beyond it nobody waits

std::optional<double> positive_number(std::string_view text, double unit_ms) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const double ms = value * unit_ms;
  if (!std::isfinite(ms) || ms <= 0 || ms > kLongestMs) return std::nullopt;
  return ms;
}

void shorten(std::optional<double>& value, const std::optional<double>& other) {
  if (other) value = std::min(value.value_or(*other), *other);
}

}  // namespace

ClientPatience patience_of(const http::Request& request, bool stream) {
  ClientPatience patience;
  patience.total_ms = positive_number(request.header("x-request-timeout-ms"), 1);
  auto silence_ms = positive_number(request.header("x-stainless-read-timeout"), 1000);
  if (!silence_ms) silence_ms = positive_number(request.header("x-stainless-timeout"), 1000);
  if (stream) {
    patience.first_token_ms = silence_ms;
  } else {
    shorten(patience.total_ms, silence_ms);
  }
  shorten(patience.first_token_ms, patience.total_ms);
  return patience;
}

void set_deadlines(const ClientPatience& patience, Request& request) {
  if (patience.total_ms) request.total_deadline = request.arrival + from_ms(*patience.total_ms);
  if (!patience.first_token_ms) return;
  request.first_token_deadline = request.arrival + from_ms(*patience.first_token_ms);
  request.queue_deadline = request.first_token_deadline;
}

}  // namespace sparrow::api
