#pragma once
// AnswerHints: what the answer cache must know of a request beside its tokens: what the client left
// open, and the conversation as the operator's list of questions spells it. Filled by the dialects
// on a prep thread. Plain values; the functions are stateless and thread-safe.

#include <boost/json/object.hpp>
#include <string>
#include <string_view>

namespace sparrow::api {

struct ChatTurn;

struct AnswerHints {
  bool is_seeded = false;         // the client wrote a seed
  bool sampling_is_open = false;  // the client wrote nothing that says how to sample
  std::string conversation;       // for the list; "" = never on it
  std::string question;           // its last question, for people
};

// The part that every dialect shares; `body` passed check_fields().
AnswerHints read_answer_hints(const boost::json::object& body);
// Adds the conversation, where its last message is a question of moderate length.
void add_conversation(const ChatTurn& turn, AnswerHints& hints);

// One spelling for questions that differ in nothing a person would notice. Exactly these steps:
//   full-width forms (U+FF01..U+FF5E) and the ideographic space become ASCII;
//   spaces at both ends go; inside, runs of spaces and tabs become one space, unless the text has
//   several lines (code, tables);
//   one final '.', '?', '。' or '｡' goes, with the spaces before it.
std::string normalise_question(std::string_view text);

}  // namespace sparrow::api
