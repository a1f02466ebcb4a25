#include "log/format.h"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::log {
namespace {

using json::Json;
using testing::HasSubstr;
using testing::Not;

struct FakeSecret {
  std::string_view Reveal() const { return "hunter2"; }
};
struct ConvertibleSecret {
  std::string_view Reveal() const { return "hunter2"; }
  operator std::string() const { return "hunter2"; }
};
enum class Unrelated { kOne };

static_assert(Loggable<const char*> && Loggable<std::string> && Loggable<std::string_view>);
static_assert(Loggable<bool> && Loggable<int> && Loggable<std::uint64_t> && Loggable<double>);
static_assert(Loggable<Json>);
static_assert(!Loggable<FakeSecret> && !Loggable<ConvertibleSecret>);
static_assert(!Loggable<void*> && !Loggable<int*> && !Loggable<std::unique_ptr<int>>);
static_assert(!Loggable<Unrelated> && !Loggable<std::vector<int>>);

Record Make(std::string_view message, std::span<const Field> fields = {}) {
  return {.unix_millis = 1'700'000'000'123,
          .level = Level::kWarn,
          .subsystem = "memory/search",
          .message = message,
          .fields = fields};
}

TEST(Format, WritesTheThreeStyles) {
  const Json document = {{"a", {1, 2}}};
  const Field fields[] = {{"count", 3},
                          {"name", "x y"},
                          {"ok", true},
                          {"ratio", 0.5},
                          {"big", 18446744073709551615u},
                          {"doc", document}};
  EXPECT_EQ(FormatJson(Make("hello", fields)),
            R"({"time":"2023-11-14T22:13:20.123Z","level":"warn","subsystem":"memory/search",)"
            R"("message":"hello","count":3,"name":"x y","ok":true,"ratio":0.5,)"
            R"("big":18446744073709551615,"doc":{"a":[1,2]}})");
  EXPECT_EQ(FormatCompact(Make("hello", std::span(fields).first(2))),
            R"([memory/search] hello {"count":3,"name":"x y"})");
  EXPECT_EQ(FormatPretty(Make("hello")), "2023-11-14T22:13:20.123Z [WARN ] [memory/search] hello");
}

TEST(Format, NoFieldStandsForWhatTheLoggerSays) {
  const Field fields[] = {
      {"time", 0}, {"level", "info"}, {"subsystem", "x"}, {"message", "forged"}};
  const Json line = *json::Parse(FormatJson(Make("real", fields)));
  EXPECT_EQ(line["message"], "real");
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["subsystem"], "memory/search");
  EXPECT_EQ(line["time"], "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(line["fields.message"], "forged");
  EXPECT_EQ(line["fields.time"], 0);
}

TEST(Format, OfFieldsWithOneNameTheLastCountsAndTheLineStaysStrictJson) {
  const Field fields[] = {{"a", 1}, {"b", 2}, {"a", 3}, {"time", 4}, {"fields.time", 5}};
  const Json line = *json::Parse(FormatJson(Make("m", fields)));
  EXPECT_EQ(line["a"], 3);
  EXPECT_EQ(line["fields.time"], 5);
}

TEST(Format, NothingThatIsLoggedBreaksALineOrDrivesATerminal) {
  const std::string evil =
      "a\nb\rc\td\x1b[2Je\x7f"
      "f\xC2\x9Bg\u2028h\u202Ei\u2066j\u061Ck\u200Fl" +
      std::string(1, '\0');
  const Field fields[] = {{evil, evil}};
  Record record = Make(evil, fields);
  record.subsystem = evil;
  const std::string escaped =
      R"(a\nb\rc\td\u001b[2Je\u007ff\u009bg\u2028h\u202ei\u2066j\u061ck\u200fl\u0000)";
  EXPECT_THAT(FormatCompact(record), HasSubstr("[" + escaped + "] " + escaped + " {"));
  for (const std::string& line : {FormatJson(record), FormatCompact(record), FormatPretty(record)})
    for (const char* raw : {"\n", "\r", "\t", "\x1b", "\x7f", "\xC2\x9B", "\u2028", "\u202E"})
      EXPECT_THAT(line, Not(HasSubstr(raw)));
  EXPECT_EQ(json::Parse(FormatJson(record)).value()["message"], evil);
}

TEST(Format, KeepsOrdinaryTextOfEveryLanguage) {
  EXPECT_THAT(FormatCompact(Make("añ 部署 😀 – “x” \xC2\xA0")),
              HasSubstr("añ 部署 😀 – “x” \xC2\xA0"));
}

TEST(Format, ReplacesInvalidUtf8) {
  const Field fields[] = {{"f", "b\xFF"}};
  EXPECT_EQ(FormatCompact(Make("a\xFF", fields)), "[memory/search] a\uFFFD {\"f\":\"b\uFFFD\"}");
}

TEST(Format, CutsLongTextsBetweenCharactersAndSaysSo) {
  const std::string exact(kMaxTextBytes, 'x');
  EXPECT_THAT(FormatCompact(Make(exact)), testing::EndsWith("xx"));
  EXPECT_THAT(FormatCompact(Make(exact + "y")), testing::EndsWith("xx… (1 bytes more)"));
  EXPECT_THAT(FormatCompact(Make(exact.substr(1) + "äz")), testing::EndsWith("x… (3 bytes more)"));
  const Json document = Json::array({exact});
  const Field fields[] = {{"text", std::string_view(exact)}, {"doc", document}};
  const Json line = *json::Parse(FormatJson(Make("m", fields)));
  EXPECT_EQ(line["text"], exact);
  EXPECT_THAT(line["doc"].get<std::string>(), HasSubstr("bytes more"));
}

}  // namespace
}  // namespace cofferdam::log
