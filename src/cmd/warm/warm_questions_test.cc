#include "cmd/warm/warm_questions.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(WarmQuestions, LinesAndObjects_BecomeChatRequests) {
  const auto questions = parse_warm_questions(
      "\xEF\xBB\xBFWhat is \"1 + 1\"?\r\n"
      "\n"
      "  \t\n"
      "{\"messages\": [{\"role\":\"user\",\"content\":\"hi\"}], \"stream\": true}\n"
      "一个笼子里有鸡和兔子",
      "faq.txt");
  ASSERT_TRUE(questions.ok()) << questions.message();
  ASSERT_EQ(questions->size(), 3u);
  EXPECT_EQ(questions->at(0).body,
            R"({"messages":[{"role":"user","content":"What is \"1 + 1\"?"}]})");
  EXPECT_EQ(questions->at(0).line, 1u);
  EXPECT_EQ(questions->at(1).body,
            R"({"messages":[{"role":"user","content":"hi"}],"stream":false})");
  EXPECT_EQ(questions->at(1).line, 4u);
  EXPECT_EQ(questions->at(2).shown, "一个笼子里有鸡和兔子");
}

TEST(WarmQuestions, WrongLines_AreNamed) {
  const struct {
    std::string text;
    const char* part;
  } cases[] = {
      {"", "faq.txt holds no question"},
      {"\n \n", "holds no question"},
      {"ok\n{\"messages\":", "faq.txt:2: "},
      {"{\"question\":\"hi\"}", "faq.txt:1: a JSON line needs \"messages\""},
      {"ok\n\n\xFF\xFE", "faq.txt:3: the text is not UTF-8"},
      {std::string((1 << 20) + 1, 'a'), "at most 1048576 bytes"},
  };
  for (const auto& one : cases) {
    const auto questions = parse_warm_questions(one.text, "faq.txt");
    ASSERT_FALSE(questions.ok()) << one.part;
    EXPECT_NE(questions.message().find(one.part), std::string::npos) << questions.message();
  }
}

TEST(WarmQuestions, LongQuestions_AreShownShortAndWhole) {
  const auto questions = parse_warm_questions("a" + std::string(59, 'b') + "麻雀", "f");
  ASSERT_TRUE(questions.ok());
  EXPECT_EQ(questions->front().shown, "a" + std::string(59, 'b') + "...");
  const auto cut = parse_warm_questions(std::string(59, 'b') + "麻雀", "f");
  EXPECT_EQ(cut->front().shown, std::string(59, 'b') + "...") << "no half character";
}

}  // namespace
}  // namespace sparrow
