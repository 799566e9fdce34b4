#pragma once
// Pieces of the JSON rows of `sparrow bench`. Each appends ",\"name\":value" to a row that has
// begun. Stateless.

#include <string>
#include <vector>

#include "cmd/bench_output.h"

namespace sparrow {

void append_number(std::string& out, const char* name, double value);
void append_text(std::string& out, const char* name, const std::string& value);
void append_flag(std::string& out, const char* name, bool value);
// What all rows of a run share, and the end of the row.
void append_run(std::string& out, const BenchedModel& model);
// One array, a row a line.
void print_json_array(const std::vector<std::string>& rows);

}  // namespace sparrow
