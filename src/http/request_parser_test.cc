#include "http/request_parser.h"

#include <gtest/gtest.h>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow::http {
namespace {

using State = RequestParser::State;

ParserLimits small_limits() {
  ParserLimits limits;
  limits.max_request_line_bytes = 200;
  limits.max_header_line_bytes = 400;
  limits.max_header_bytes = 1000;
  limits.max_num_headers = 10;
  limits.max_body_bytes = 100;
  return limits;
}

// 200 for a complete request, the refusing status, or 0 when more bytes are needed.
int outcome(RequestParser& parser, std::string_view bytes, size_t piece_bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    const size_t used = parser.feed(piece);
    bytes.remove_prefix(used);
    if (parser.state() == State::kComplete) return 200;
    if (parser.state() == State::kFailed) return parser.error().status;
    if (used != piece.size()) return -1;  // unfinished and yet not everything was taken
  }
  return 0;
}

struct Row {
  const char* name;
  std::string bytes;
  int expected;
};

std::string post(const std::string& fields, const std::string& body) {
  return "POST /x HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}

std::vector<Row> rows() {
  const std::string te = "Transfer-Encoding: chunked\r\n";
  std::string many_headers = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 20; ++i) many_headers += "x: y\r\n";
  std::string wide_headers;
  for (int i = 0; i < 9; ++i) wide_headers += "a: " + std::string(200, 'b') + "\r\n";
  return {
      {"get", "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", 200},
      {"http10WithoutHost", "GET / HTTP/1.0\r\n\r\n", 200},
      {"leadingEmptyLine", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
      {"endlessEmptyLines", std::string(100, '\n'), 400},
      {"postWithLength", post("Content-Length: 5\r\n", "hello"), 200},
      {"postWithoutBody", post("", ""), 200},
      {"bodyAtLimit", post("Content-Length: 100\r\n", std::string(100, 'x')), 200},
      {"bodyCutOff", post("Content-Length: 5\r\n", "hell"), 0},
      {"headCutOff", "GET / HTTP/1.1\r\nHost: a\r\n", 0},
      {"chunked", post(te, "5\r\nhello\r\n0\r\n\r\n"), 200},
      {"chunkedUpperCase", post("TRANSFER-ENCODING: Chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n"),
       200},
      {"chunkedEmpty", post(te, "0\r\n\r\n"), 200},
      {"chunkedManyZeros", post(te, "000\r\n\r\n"), 200},
      {"chunkedExtension", post(te, "1;a=b\r\nx\r\n0;last\r\n\r\n"), 200},
      {"chunkedTrailers", post(te, "1\r\nx\r\n0\r\nContent-Length: 9\r\nb: c\r\n\r\n"), 200},
      {"chunkedCutOff", post(te, "5\r\nhel"), 0},
      {"pathWithEscapes", "GET /a%20b HTTP/1.1\r\nHost: a\r\n\r\n", 200},
      {"absoluteForm", "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 200},
      {"optionsStar", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200},
      {"lowerCaseMethod", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 200},  // the router answers 405

      {"lengthOverLimit", post("Content-Length: 101\r\n", ""), 413},
      {"lengthHuge", post("Content-Length: 99999999999999999\r\n", ""), 413},
      {"lengthOverflows", post("Content-Length: 99999999999999999999999\r\n", ""), 400},
      {"lengthNegative", post("Content-Length: -1\r\n", ""), 400},
      {"lengthPlus", post("Content-Length: +5\r\n", "hello"), 400},
      {"lengthList", post("Content-Length: 5, 5\r\n", "hello"), 400},
      {"lengthHex", post("Content-Length: 0x5\r\n", "hello"), 400},
      {"lengthEmpty", post("Content-Length:\r\n", ""), 400},
      {"lengthTwice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
      {"lengthTwiceDifferent", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400},
      {"lengthAndChunked", post("Content-Length: 5\r\n" + te, "0\r\n\r\n"), 400},
      {"chunkedAndLength", post(te + "Content-Length: 5\r\n", "0\r\n\r\n"), 400},
      {"codingTwice", post(te + te, "0\r\n\r\n"), 400},
      {"codingList", post("Transfer-Encoding: chunked, identity\r\n", ""), 400},
      {"codingGzip", post("Transfer-Encoding: gzip, chunked\r\n", ""), 400},
      {"codingIdentity", post("Transfer-Encoding: identity\r\n", ""), 400},
      {"codingInHttp10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"foldedField", "GET / HTTP/1.1\r\nHost: a\r\nb: c\r\n d\r\n\r\n", 400},
      {"foldedFirstField", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"bareLineFeed", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"bareCarriageReturn", "GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n", 400},
      {"nulInField", "GET / HTTP/1.1\r\nHost: a\r\nb: " + std::string(1, '\0') + "\r\n\r\n", 400},
      {"spaceBeforeColon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"fieldWithoutColon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400},
      {"fieldWithoutName", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400},
      {"noHost", "GET / HTTP/1.1\r\n\r\n", 400},
      {"twoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"otherExpect", post("Expect: 200-ok\r\nContent-Length: 1\r\n", "x"), 417},
      {"versionTwo", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"versionMissing", "GET /\r\n\r\n", 400},
      {"versionNonsense", "GET / FTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"tlsHello", std::string("\x16\x03\x01\x02\x00\x01", 6), 400},
      {"binary", std::string(64, '\xff'), 400},
      {"starForGet", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"brokenEscape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"nulEscape", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"longRequestLine", "GET /" + std::string(300, 'a'), 414},
      {"longField", "GET / HTTP/1.1\r\nHost: a\r\nb: " + std::string(500, 'c'), 431},
      {"manyFields", many_headers, 431},
      {"endlessHead", "GET / HTTP/1.1\r\n" + wide_headers, 431},
      {"chunkSizeEmpty", post(te, "\r\n\r\n"), 400},
      {"chunkSizeNegative", post(te, "-1\r\n\r\n"), 400},
      {"chunkSizePrefix", post(te, "0x5\r\nhello\r\n0\r\n\r\n"), 400},
      {"chunkSizeHuge", post(te, "ffffffffffffffff\r\n"), 400},
      {"chunkSizeOverLimit", post(te, "fffffff\r\n"), 413},
      {"chunksOverLimit", post(te, "40\r\n" + std::string(64, 'x') + "\r\n40\r\n"), 413},
      {"chunkTooLong", post(te, "5\r\nhelloX\r\n0\r\n\r\n"), 400},
      {"chunkBareLineFeed", post(te, "5\nhello\n0\n\n"), 400},
      {"chunkExtensionHuge", post(te, "5;" + std::string(5000, 'a')), 400},
      {"chunkTrailersHuge", post(te, "0\r\n" + std::string(10000, 'a')), 400},
      {"chunkEndGarbage", post(te, "0\r\n\rX"), 400},
  };
}

TEST(RequestParser, EveryRow_AnySplit_SameOutcome) {
  for (const Row& row : rows()) {
    for (size_t piece_bytes : {size_t{1}, size_t{2}, size_t{7}, row.bytes.size()}) {
      RequestParser parser(small_limits());
      EXPECT_EQ(outcome(parser, row.bytes, piece_bytes), row.expected)
          << row.name << " in pieces of " << piece_bytes << ": " << parser.error().message;
    }
  }
}

TEST(RequestParser, ValidRequests_SplitAtEveryByte_SameRequest) {
  const std::string bytes =
      "POST /v1/chat?x=%20 HTTP/1.1\r\nHost: localhost:8000\r\nX-A:  padded \r\n"
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;e=1\r\n world\r\n0\r\nt: u\r\n\r\n";
  for (size_t split = 1; split < bytes.size(); ++split) {
    RequestParser parser(small_limits());
    ASSERT_EQ(parser.feed(std::string_view(bytes).substr(0, split)), split);
    ASSERT_NE(parser.state(), State::kComplete);
    ASSERT_EQ(parser.feed(std::string_view(bytes).substr(split)), bytes.size() - split);
    ASSERT_EQ(parser.state(), State::kComplete) << split;
    const Request request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/v1/chat?x=%20");
    EXPECT_EQ(request.path, "/v1/chat");
    EXPECT_EQ(request.query, "x=%20");
    EXPECT_EQ(request.body, "hello world");
    EXPECT_EQ(request.header("x-a"), "padded");
    EXPECT_EQ(request.header("t"), "");  // trailers are not headers
  }
}

TEST(RequestParser, GluedRequests_StopsBehindEach) {
  const std::string first = post("Content-Length: 3\r\n", "abc");
  const std::string second = "GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  RequestParser parser(small_limits());
  const std::string both = first + second;
  EXPECT_EQ(parser.feed(both), first.size());
  EXPECT_TRUE(parser.keep_alive());
  EXPECT_EQ(parser.take().body, "abc");
  EXPECT_EQ(parser.feed(second), second.size());
  EXPECT_FALSE(parser.keep_alive());
  const Request request = parser.take();
  EXPECT_EQ(request.path, "/second");
  EXPECT_EQ(request.headers.size(), 2u);
}

TEST(RequestParser, ExpectContinue_OnlyWhileTheBodyIsMissing) {
  RequestParser parser(small_limits());
  parser.feed(post("Expect: 100-continue\r\nContent-Length: 1\r\n", ""));
  EXPECT_EQ(parser.state(), State::kBody);
  EXPECT_TRUE(parser.expects_continue());
  parser.feed("x");
  parser.take();
  EXPECT_FALSE(parser.expects_continue());
}

TEST(RequestParser, FailedParser_TakesNothingMore) {
  RequestParser parser(small_limits());
  parser.feed("\x16");
  EXPECT_EQ(parser.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0u);
  EXPECT_EQ(parser.state(), State::kFailed);
}

// Every byte of a valid request replaced by every of some awkward bytes: it completes or is
// refused or waits for more, whatever the split, and both splits agree.
TEST(RequestParser, MutatedRequests_NeverDependOnTheSplit) {
  const std::string valid =
      post("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "3\r\nabc\r\n0\r\n\r\n");
  const std::string awkward("\0\t\n\r \"%,-:;/0Af\x7f\x80\xff", 18);
  for (size_t at = 0; at < valid.size(); ++at) {
    for (char c : awkward) {
      std::string bytes = valid;
      bytes[at] = c;
      RequestParser whole(small_limits()), bytewise(small_limits());
      EXPECT_EQ(outcome(whole, bytes, bytes.size()), outcome(bytewise, bytes, 1))
          << "byte " << at << " = " << int{c};
    }
  }
}

// The fuzz entry on mutated rows: it CHECKs that every split reads the same requests.
TEST(RequestParserFuzz, MutatedRows_AgreeForEverySplit) {
  const std::vector<Row> seeds = rows();
  constexpr uint64_t kNumRounds = 20'000;
  for (uint64_t round = 0; round < kNumRounds; ++round) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) { return random_bits(11, round, counter++) % bound; };
    std::string input(1, static_cast<char>(draw(16)));
    input += seeds[draw(seeds.size())].bytes.substr(0, 2000);
    input += seeds[draw(seeds.size())].bytes.substr(0, 2000);
    for (uint64_t edit = draw(5); edit > 0; --edit) {
      const size_t at = 1 + draw(input.size() - 1);
      switch (draw(3)) {
        case 0:
          input[at] = static_cast<char>(draw(256));
          break;
        case 1:
          input.erase(at, draw(8));
          break;
        default:
          input.insert(at, input.substr(1 + draw(input.size() - 1), draw(20)));
          break;
      }
      if (input.size() < 3) break;
    }
    ASSERT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size()),
              0);
  }
}

}  // namespace
}  // namespace sparrow::http
