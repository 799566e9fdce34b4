#include "http/torture_rows_test.h"

#include <fmt/format.h>

#include <utility>

namespace sparrow::http {
namespace {

const std::string kHost = "Host: localhost\r\n";
const std::string kGetHead = "GET /echo HTTP/1.1\r\n";
const std::string kSimple = kGetHead + kHost + "\r\n";
const std::string kChunked = "Transfer-Encoding: chunked\r\n";

std::string with_fields(const std::string& fields) { return kGetHead + kHost + fields + "\r\n"; }
std::string post_with(const std::string& fields, const std::string& body) {
  return "POST /echo HTTP/1.1\r\n" + kHost + fields + "\r\n" + body;
}
std::string post_of(const std::string& body) {
  return post_with(fmt::format("Content-Length: {}\r\n", body.size()), body);
}
std::string code_name(int code) { return fmt::format("0x{:02x}", code); }

class Table {
 public:
  explicit Table(std::string group) : group_(std::move(group)) {}
  // Answered, and the connection lives on.
  void good(std::string name, std::string bytes, std::vector<int> statuses = {200}) {
    rows_.push_back({group_, std::move(name), {std::move(bytes)}, std::move(statuses)});
  }
  // The last answer, if any, is followed by the end of the connection.
  void closes(std::string name, std::string bytes, std::vector<int> statuses) {
    rows_.push_back({group_, std::move(name), {std::move(bytes)}, std::move(statuses), true});
  }
  void half_closed(std::string name, std::string bytes, std::vector<int> statuses) {
    rows_.push_back({group_, std::move(name), {std::move(bytes)}, std::move(statuses), true, true});
  }
  void pieces(std::string name, std::vector<std::string> pieces, std::vector<int> statuses,
              bool closes) {
    rows_.push_back({group_, std::move(name), std::move(pieces), std::move(statuses), closes});
  }
  void move_to(std::vector<TortureRow>& all) {
    for (TortureRow& row : rows_) all.push_back(std::move(row));
  }

 private:
  const std::string group_;
  std::vector<TortureRow> rows_;
};

// A head line of exactly so many bytes, CR LF included.
std::string request_line(size_t bytes) {
  const std::string start = "GET /echo?", end = " HTTP/1.1\r\n";
  return start + std::string(bytes - start.size() - end.size(), 'a') + end;
}
std::string field_line(size_t bytes, const std::string& name = "x") {
  return name + ": " + std::string(bytes - name.size() - 4, 'b') + "\r\n";
}
std::string head_of(size_t bytes) {
  std::string head = kGetHead + kHost;
  while (bytes - head.size() > 12'000) head += field_line(10'000);
  return head + field_line(bytes - head.size() - 2) + "\r\n";
}
std::string repeated(const std::string& text, size_t count) {
  std::string all;
  all.reserve(text.size() * count);
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

void add_big(std::vector<TortureRow>& all) {
  Table table("big");
  constexpr size_t kLine = 8u << 10, kField = 16u << 10, kHead = 64u << 10;
  table.good("request line at the limit", request_line(kLine) + kHost + "\r\n");
  table.closes("request line one over", request_line(kLine + 1) + kHost + "\r\n", {414});
  table.closes("request line of a megabyte", request_line(1u << 20), {414});
  table.closes("endless method", std::string(1u << 20, 'A'), {414});
  table.good("field at the limit", with_fields(field_line(kField)));
  table.closes("field one over", with_fields(field_line(kField + 1)), {431});
  table.closes("field of 16 MB", kGetHead + field_line(16u << 20), {431});
  table.closes("endless field name", kGetHead + std::string(1u << 20, 'n'), {431});
  table.good("head at the limit", head_of(kHead));
  table.closes("head one over", head_of(kHead + 1), {431});
  table.good("128 fields", with_fields(repeated("x: y\r\n", 127)));
  table.closes("129 fields", with_fields(repeated("x: y\r\n", 128)), {431});
  table.closes("a million fields", with_fields(repeated("x: y\r\n", 1'000'000)), {431});
  table.closes("a million empty lines", repeated("\r\n", 1'000'000), {400});
  table.good("body at the limit", post_of(std::string(kTortureBodyBytes, 'b')));
  table.closes("length one over", post_with("Content-Length: 1048577\r\n", ""), {413});
  table.closes("length of 1 GB", post_with("Content-Length: 1073741824\r\n", ""), {413});
  table.closes("length of 2^63 - 1", post_with("Content-Length: 9223372036854775807\r\n", ""),
               {413});
  table.closes("length of 2^64 - 1", post_with("Content-Length: 18446744073709551615\r\n", ""),
               {413});
  table.closes("length of 2^64", post_with("Content-Length: 18446744073709551616\r\n", ""), {400});
  table.closes("length over, sent all the same",
               post_with("Content-Length: 4194304\r\n", std::string(4u << 20, 'b')), {413});
  table.closes("length over with Expect",
               post_with("Content-Length: 4194304\r\nExpect: 100-continue\r\n", ""), {413});
  table.closes("one chunk over", post_with(kChunked, "100001\r\n"), {413});
  table.closes(
      "chunks over by one byte",
      post_with(kChunked, "100000\r\n" + std::string(kTortureBodyBytes, 'c') + "\r\n1\r\n"), {413});
  table.closes("two million one-byte chunks",
               post_with(kChunked, repeated("1\r\nx\r\n", 2'000'000)), {413});
  table.good("ten thousand one-byte chunks",
             post_with(kChunked, repeated("1\r\nx\r\n", 10'000) + "0\r\n\r\n"));
  table.move_to(all);
}

void add_chunked(std::vector<TortureRow>& all) {
  Table table("chunked");
  const auto refused = [&](const std::string& name, const std::string& body) {
    table.closes(name, post_with(kChunked, body), {400});
  };
  const auto taken = [&](const std::string& name, const std::string& body) {
    table.good(name, post_with(kChunked, body));
  };
  for (const char* size : {"ffffffffffffffff",
                           "7fffffffffffffff",
                           "8000000000000000",
                           "-1",
                           "-0",
                           "+5",
                           "0x5",
                           "5h",
                           "",
                           " 5",
                           "\t5",
                           ";",
                           ";a=b",
                           "5_",
                           "5.0",
                           "5,5",
                           "0000000000000005",
                           "\xef\xbc\x95",
                           "five",
                           "\"5\""}) {
    refused(fmt::format("size '{}'", size), fmt::format("{}\r\nhello\r\n0\r\n\r\n", size));
  }
  for (const char* size :
       {"5", "05", "000000000000005", "5;", "5;a", "5;a=b", "5;a=\"b c\"", "5 ;a=b", "5;;;"}) {
    taken(fmt::format("size '{}'", size), fmt::format("{}\r\nhello\r\n0\r\n\r\n", size));
  }
  for (const int code : {0, 1, 7, 11, 27, 127}) {
    const std::string raw(1, static_cast<char>(code));
    refused(code_name(code) + " in an extension", "5;a" + raw + "\r\nhello\r\n0\r\n\r\n");
    refused(code_name(code) + " in a trailer", "0\r\na: b" + raw + "\r\n\r\n");
    refused(code_name(code) + " in a size", "5" + raw + "\r\nhello\r\n0\r\n\r\n");
  }
  taken("extension of a kilobyte", "5;" + std::string(1000, 'e') + "\r\nhello\r\n0\r\n\r\n");
  refused("extension of a megabyte", "5;" + std::string(1u << 20, 'e') + "\r\nhello\r\n0\r\n\r\n");
  refused("bare line feed behind the size", "5\nhello\r\n0\r\n\r\n");
  refused("bare line feed in an extension", "5;a\nhello\r\n0\r\n\r\n");
  refused("carriage return alone behind the size", "5\rXhello\r\n0\r\n\r\n");
  refused("chunk longer than its size", "5\r\nhello!\r\n0\r\n\r\n");
  refused("chunk shorter than its size", "5\r\nhell\r\n0\r\n\r\n0\r\n\r\n");
  refused("bare line feed behind the data", "5\r\nhello\n0\r\n\r\n");
  refused("no line end behind the data", "5\r\nhello0\r\n\r\n");
  refused("bare line feed at the end", "5\r\nhello\r\n0\n\n");
  refused("garbage behind the last chunk", "0\r\n\rX");
  taken("empty body", "0\r\n\r\n");
  taken("last chunk with an extension", "0;last=1\r\n\r\n");
  taken("many zeros", "00000000\r\n\r\n");
  taken("trailers are ignored", "0\r\nContent-Length: 99\r\nHost: other\r\n\r\n");
  taken("upper-case size", "A\r\n0123456789\r\n0\r\n\r\n");
  refused("trailers of a megabyte", "0\r\n" + std::string(1u << 20, 't'));
  refused("a million trailers", "0\r\n" + repeated("a: b\r\n", 1'000'000));
  table.move_to(all);
}

void add_smuggling(std::vector<TortureRow>& all) {
  Table table("smuggling");
  const std::string five = "Content-Length: 5\r\n";
  const auto refused = [&](const std::string& name, const std::string& fields,
                           const std::string& body = "hello") {
    table.closes(name, post_with(fields, body), {400});
  };
  refused("length, then coding", five + kChunked, "0\r\n\r\n");
  refused("coding, then length", kChunked + five, "0\r\n\r\n");
  refused("length 0 and coding", "Content-Length: 0\r\n" + kChunked, "0\r\n\r\n");
  refused("two equal lengths", five + five);
  refused("two different lengths", five + "Content-Length: 6\r\n");
  refused("two lengths apart", five + "x: y\r\ncontent-length: 5\r\n");
  for (const char* length : {"+5", "-5", "5,5", "5, 5", "5 5", "5;", "5.0", "5e0", "0x5", "five",
                             "", " ", "\"5\"", "5a", "\xef\xbc\x95"}) {
    refused(fmt::format("length '{}'", length), fmt::format("Content-Length: {}\r\n", length));
  }
  for (const char* coding :
       {"identity", "gzip", "chunked, identity", "identity, chunked", "chunked, chunked",
        "gzip, chunked", "xchunked", "chunkedx", "chunked;q=1", "\"chunked\"", "chunked,",
        ",chunked", "", "chun ked", "x-chunked", "\xc4\x8dhunked"}) {
    refused(fmt::format("coding '{}'", coding), fmt::format("Transfer-Encoding: {}\r\n", coding),
            "0\r\n\r\n");
  }
  refused("coding twice", kChunked + kChunked, "0\r\n\r\n");
  refused("coding split over two lines", "Transfer-Encoding: gzip\r\n" + kChunked, "0\r\n\r\n");
  table.closes("coding in HTTP/1.0", "POST /echo HTTP/1.0\r\n" + kChunked + "\r\n0\r\n\r\n", {400});
  table.good("coding in capitals",
             post_with("TRANSFER-ENCODING: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"));
  for (const char* name : {"Content-Length", "Transfer-Encoding", "Host", "X"}) {
    for (const char* space : {" ", "\t", "  "}) {
      table.closes(fmt::format("'{}' behind the name {}", space, name),
                   with_fields(fmt::format("{}{}: 5\r\n", name, space)), {400});
    }
    table.closes(fmt::format("folded line behind {}", name),
                 post_with(fmt::format("{}: 5\r\n 5\r\n", name), "hello"), {400});
    table.closes(fmt::format("white space before {}", name),
                 kGetHead + fmt::format(" {}: 5\r\n", name) + kHost + "\r\n", {400});
  }
  table.closes("bare line feeds", "GET /echo HTTP/1.1\nHost: localhost\n\n", {400});
  table.closes("bare line feed behind the request line", "GET /echo HTTP/1.1\n" + kHost + "\r\n",
               {400});
  table.closes("bare line feed inside the fields", with_fields("a: b\nc: d\r\n"), {400});
  table.closes("bare line feed as the end", kGetHead + kHost + "\n", {400});
  table.closes("bare carriage return in a field", with_fields("a: b\rc: d\r\n"), {400});
  table.closes("two carriage returns", kGetHead + kHost + "\r\r\n", {400});
  table.closes("field without a colon", with_fields("nonsense\r\n"), {400});
  table.closes("field without a name", with_fields(": x\r\n"), {400});
  // No server of ours reads these as framing, so what follows is the next request.
  table.closes("Content_Length is no length", post_with("Content_Length: 1\r\n", "\x01"),
               {200, 400});
  table.closes("X-Transfer-Encoding is no coding",
               post_with("X-Transfer-Encoding: chunked\r\n", "\x01"), {200, 400});
  table.closes("GET with a body, then a request",
               "GET /echo HTTP/1.1\r\n" + kHost + five + "\r\nhello" + "\x01", {200, 400});
  table.move_to(all);
}

void add_pipelining(std::vector<TortureRow>& all) {
  Table table("pipelining");
  const auto all_good = [](size_t count) { return std::vector<int>(count, 200); };
  table.good("two", kSimple + kSimple, all_good(2));
  table.good("a thousand", repeated(kSimple, 1000), all_good(1000));
  table.good("POST and GET in one packet", post_of("abc") + kSimple, all_good(2));
  table.good("POST and GET by turns", repeated(post_of("abc") + kSimple, 100), all_good(200));
  table.good("a body that looks like a request", post_of(kSimple) + kSimple, all_good(2));
  table.good("chunked, then GET", post_with(kChunked, "3\r\nabc\r\n0\r\n\r\n") + kSimple,
             all_good(2));
  table.good("empty lines between", kSimple + "\r\n\r\n" + kSimple, all_good(2));
  table.pieces("second begins in the first's packet",
               {post_of("abc") + "GET /ec", "ho HTTP/1.1\r\n" + kHost, "\r\n"}, all_good(2), false);
  table.pieces("split inside every line end",
               {"GET /echo HTTP/1.1\r", "\nHost: localhost\r", "\n\r", "\n" + kSimple}, all_good(2),
               false);
  table.closes("good, then garbage", kSimple + "\x16\x03\x01", {200, 400});
  table.closes("good, then too large", kSimple + post_with("Content-Length: 9999999\r\n", ""),
               {200, 413});
  table.closes("nothing behind a refusal", post_with("Content-Length: x\r\n", "") + kSimple, {400});
  table.closes("nothing behind Connection: close", with_fields("Connection: close\r\n") + kSimple,
               {200});
  table.closes("Connection: close as the second",
               kSimple + with_fields("Connection: close\r\n") + kSimple, {200, 200});
  table.good("HEAD, then GET", "HEAD /echo HTTP/1.1\r\n" + kHost + "\r\n" + kSimple, {-200, 200});
  table.good("a hundred HEADs", repeated("HEAD /echo HTTP/1.1\r\n" + kHost + "\r\n", 100),
             std::vector<int>(100, -200));
  table.good("unanswered, then answered", "GET /drop HTTP/1.1\r\n" + kHost + "\r\n" + kSimple,
             {500, 200});
  table.good("a handler that throws, then GET",
             "GET /throw HTTP/1.1\r\n" + kHost + "\r\n" + kSimple, {500, 200});
  table.move_to(all);
}

void add_versions(std::vector<TortureRow>& all) {
  Table table("versions");
  table.closes("HTTP/1.0", "GET /echo HTTP/1.0\r\n\r\n", {200});
  table.good("HTTP/1.0 that stays", "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  table.closes("HTTP/1.0 with a body", "POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
               {200});
  table.closes("no version", "GET /echo\r\n\r\n", {400});
  for (const char* version : {"HTTP/2.0", "HTTP/3.0", "HTTP/1.2", "HTTP/0.9", "HTTP/9.9"}) {
    table.closes(version, fmt::format("GET /echo {}\r\n", version) + kHost + "\r\n", {505});
  }
  for (const char* version : {"http/1.1", "HTTP/1", "HTTP/11", "HTTP/1.", "HTTP/.1", "HTTP/1.1 ",
                              "HTTP /1.1", "FTP/1.1", "HTTP/1.1x", "HTTP/+1.1"}) {
    const std::string line = fmt::format("GET /echo {}\r\n", version);
    table.closes(fmt::format("version '{}'", version), line + kHost + "\r\n", {400});
  }
  table.closes("no Host", kGetHead + "\r\n", {400});
  table.closes("two Hosts", with_fields(kHost), {400});
  table.closes("two different Hosts", with_fields("Host: other\r\n"), {400});
  table.good("foreign Host", kGetHead + "Host: evil.example\r\n\r\n", {403});
  table.good("absolute form", "GET http://localhost/echo HTTP/1.1\r\n" + kHost + "\r\n");
  table.good("absolute form without a path", "GET http://localhost HTTP/1.1\r\n" + kHost + "\r\n");
  table.closes("absolute form without a host", "GET http:///echo HTTP/1.1\r\n" + kHost + "\r\n",
               {400});
  table.closes("authority form", "CONNECT localhost:443 HTTP/1.1\r\n" + kHost + "\r\n", {400});
  table.good("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n");
  table.closes("GET *", "GET * HTTP/1.1\r\n" + kHost + "\r\n", {400});
  table.good("method in lower case", "get /echo HTTP/1.1\r\n" + kHost + "\r\n");
  table.good("unknown method", "BREW /echo HTTP/1.1\r\n" + kHost + "\r\n");
  table.closes("two spaces", "GET  /echo HTTP/1.1\r\n" + kHost + "\r\n", {400});
  table.closes("tab between", "GET\t/echo HTTP/1.1\r\n" + kHost + "\r\n", {400});
  table.closes("space in the target", "GET /a b HTTP/1.1\r\n" + kHost + "\r\n", {400});
  table.closes("space in front", " " + kSimple, {400});
  table.closes("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505});
  table.closes("TLS hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), {400});
  table.closes("SSH banner", "SSH-2.0-OpenSSH_9.2\r\n\r\n", {400});
  table.closes("SMTP greeting", "EHLO example\r\n\r\n", {400});
  table.closes("RTSP", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", {400});
  table.closes("a status line", "HTTP/1.1 200 OK\r\n\r\n", {400});
  table.closes("memcached", "stats\r\n\r\n", {400});
  table.closes("redis", "*1\r\n$4\r\nPING\r\n\r\n", {400});
  table.closes("all bytes from 128 on", std::string(64, '\xff'), {400});
  table.closes("zeros", std::string(1u << 16, '\0'), {400});
  for (const char* target :
       {"", "echo", "?a=b", "/%", "/%0", "/%zz", "/%00", "/a%0d%0ab", "/%7f", "http://", "https://",
        "//"
        "\x01"}) {
    table.closes(fmt::format("target '{}'", target),
                 fmt::format("GET {} HTTP/1.1\r\n", target) + kHost + "\r\n", {400});
  }
  for (const char* target : {"/", "//echo", "/../../etc/passwd", "/%2e%2e/", "/a;b", "/echo?",
                             "/echo?a=%zz", "/%e9%ba%bb", "/echo#part"}) {
    table.good(fmt::format("target '{}'", target),
               fmt::format("GET {} HTTP/1.1\r\n", target) + kHost + "\r\n");
  }
  table.move_to(all);
}

void add_control(std::vector<TortureRow>& all) {
  Table table("control");
  for (int code = 0; code < 128; ++code) {
    if (code >= 32 && code != 127) continue;
    const std::string raw(1, static_cast<char>(code));
    const std::string name = code_name(code);
    table.closes(name + " in the target", "GET /e" + raw + "o HTTP/1.1\r\n" + kHost + "\r\n",
                 {400});
    table.closes(name + " in a field name", with_fields("a" + raw + "b: c\r\n"), {400});
    if (code != '\t')
      table.closes(name + " in a value", with_fields("a: b" + raw + "c\r\n"), {400});
  }
  table.good("tab in a value", with_fields("a: b\tc\r\n"));
  table.good("bytes from 128 on in a value", with_fields("a: \xe9\xba\xbb\xff\r\n"));
  table.good("Expect with the body",
             post_with("Content-Length: 3\r\nExpect: 100-continue\r\n", "abc"));
  table.good("Expect in other letters",
             post_with("Content-Length: 3\r\nexpect: 100-Continue\r\n", "abc"));
  table.good("Expect without a body", with_fields("Expect: 100-continue\r\n"));
  table.pieces("Expect, body later",
               {post_with("Content-Length: 3\r\nExpect: 100-continue\r\n", ""), "abc"}, {200},
               false);
  table.closes("Expect in HTTP/1.0",
               "POST /echo HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
               {200});
  for (const char* expected : {"200-ok", "100", "continue", "100-continue, x", ""}) {
    table.closes(fmt::format("Expect: {}", expected),
                 with_fields(fmt::format("Expect: {}\r\n", expected)), {417});
  }
  table.good("HEAD", "HEAD /echo HTTP/1.1\r\n" + kHost + "\r\n", {-200});
  table.good("HEAD with a body", "HEAD /echo HTTP/1.1\r\n" + kHost + "Content-Length: 3\r\n\r\nabc",
             {-200});
  table.half_closed("half-close behind a GET", kSimple, {200});
  table.half_closed("half-close behind a POST", post_of("abc"), {200});
  table.half_closed("half-close behind three", kSimple + kSimple + kSimple, {200, 200, 200});
  table.half_closed("half-close in the request line", "GET /ec", {400});
  table.half_closed("half-close in the fields", kGetHead + "Host", {400});
  table.half_closed("half-close in the body", post_with("Content-Length: 9\r\n", "abc"), {400});
  table.half_closed("half-close in a chunk", post_with(kChunked, "9\r\nabc"), {400});
  table.half_closed("half-close before the last chunk", post_with(kChunked, "3\r\nabc\r\n"), {400});
  table.half_closed("half-close at once", "", {});
  table.half_closed("half-close behind an empty line", "\r\n", {});
  table.move_to(all);
}

}  // namespace

std::vector<TortureRow> torture_rows() {
  std::vector<TortureRow> all;
  add_big(all);
  add_chunked(all);
  add_smuggling(all);
  add_pipelining(all);
  add_versions(all);
  add_control(all);
  return all;
}

std::vector<TortureRow> slow_rows() {
  Table table("slow");
  table.closes("nothing", "", {});
  table.closes("empty lines", "\r\n\r\n", {});
  table.closes("one byte", "G", {408});
  table.closes("request line", "GET /echo HT", {408});
  table.closes("line end half done", "GET /echo HTTP/1.1\r", {408});
  table.closes("no fields", kGetHead, {408});
  table.closes("field", kGetHead + "Host: loc", {408});
  table.closes("last line end half done", kGetHead + kHost + "\r", {408});
  table.closes("no body", post_with("Content-Length: 10\r\n", ""), {408});
  table.closes("part of the body", post_with("Content-Length: 10\r\n", "abc"), {408});
  table.closes("invited body", post_with("Content-Length: 10\r\nExpect: 100-continue\r\n", ""),
               {408});
  table.closes("no chunk", post_with(kChunked, ""), {408});
  table.closes("size without its end", post_with(kChunked, "5"), {408});
  table.closes("part of a chunk", post_with(kChunked, "5\r\nhel"), {408});
  table.closes("no last chunk", post_with(kChunked, "5\r\nhello\r\n"), {408});
  table.closes("trailers without an end", post_with(kChunked, "0\r\na: b\r\n"), {408});
  table.closes("idle behind an answer", kSimple, {200});
  table.closes("second request half sent", kSimple + "GET /ec", {200, 408});
  std::vector<TortureRow> all;
  table.move_to(all);
  return all;
}

}  // namespace sparrow::http
