#pragma once
// The torture table: what a hostile client writes, and what it must get. A row is a connection of
// its own: its pieces are sent one by one, then the answers are read in order.

#include <string>
#include <vector>

namespace sparrow::http {

struct TortureRow {
  std::string group;
  std::string name;
  std::vector<std::string> pieces;
  std::vector<int> statuses;  // final answers in order; negative: of a HEAD, without a body
  bool closes = false;        // the server closes behind the last answer; else it serves one more
  bool half_close = false;    // the client ends its sending half behind its last byte
};

// Limits the rows are made for; the others are the defaults of ServerOptions.
inline constexpr size_t kTortureBodyBytes = 1u << 20;

// Rows that end by themselves.
std::vector<TortureRow> torture_rows();
// Rows that only a deadline ends.
std::vector<TortureRow> slow_rows();

}  // namespace sparrow::http
