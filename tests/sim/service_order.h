#pragma once
// ServiceOrder: holds the scheduler to the order it promises. Within a priority and key nobody is
// overtaken. Between keys of one priority start-time fair queueing bounds how much work of another
// key goes before a waiting request: its key's own unserved work plus two requests (Goyal, Vin,
// Cheng 1996, theorem 1). Knows requests, not the scheduler's code. One thread.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace sparrow {

class ServiceOrder {
 public:
  // What one choice is taken to cost: its prompt, and at most 256 tokens of answer.
  static uint64_t cost_of(int num_prompt_tokens, int max_tokens);

  void accept(size_t tag, int num_choices, int priority, const std::string& key, uint64_t cost);
  // First plan of a choice. Those for whom `may_wait` is true wait of their own will (for a prefix
  // that another computes) and may be overtaken. Says what is wrong, or nothing.
  std::string start(size_t tag, int choice, const std::function<bool(size_t tag)>& may_wait);
  // Ended before its first plan.
  void drop(size_t tag, int choice);

 private:
  struct Waiting {
    size_t tag = 0;
    int choice = 0;
    int priority = 0;
    std::string key;
    uint64_t cost = 0;
    uint64_t bound = 0;                         // of the work of another key
    std::map<std::string, uint64_t> overtaken;  // work by key
  };
  using Position = std::vector<Waiting>::iterator;
  Position find(size_t tag, int choice);

  std::vector<Waiting> waiting_;              // in order of acceptance
  std::map<std::string, uint64_t> unserved_;  // work by key; what ended unserved still counts
  uint64_t cost_max_ = 0;
  int first_priority_ = 0;
  bool has_one_priority_ = true;
  bool is_empty_ = true;
};

}  // namespace sparrow
