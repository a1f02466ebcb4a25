#include "sessions/session.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/id.h"
#include "base/testing/fake_clock.h"
#include "storage/atomic_file.h"
#include "storage/testing/file_size_limit.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sessions {
namespace {

using json::Json;
using testing::HasSubstr;

class SessionTest : public testing::Test {
 protected:
  Result<Session> Open(const std::string& id = "main", Deadline deadline = Deadline::Never(),
                       const std::stop_token& stop = {}) const {
    return Session::Open(directory_.get(), id, "alice", clock_, deadline, stop);
  }
  std::string Text() const { return *sys::ReadFile(temp_ / "main.jsonl"); }
  void Put(std::string_view text) const {
    ASSERT_TRUE(storage::WriteFileAtomically(temp_ / "main.jsonl", text, 0600));
  }

  const sys::TempDir temp_;
  const sys::UniqueFd directory_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
  FakeClock clock_;
};

TEST_F(SessionTest, BeginsATranscriptAndGoesOnWithIt) {
  {
    Session session = *Open();
    EXPECT_EQ(session.header().id, "main");
    EXPECT_EQ(session.header().workspace, "alice");
    EXPECT_EQ(session.header().created, "2023-11-14T22:13:20.000Z");
    EXPECT_TRUE(session.Entries().empty());
    clock_.Advance(1000);
    ASSERT_TRUE(session.Append({{{"type", "message"}, {"run", "r"}, {"message", {{"a", 1}}}},
                                {{"type", "compaction"}, {"run", "r"}}}));
  }
  const Session session = *Open();
  EXPECT_EQ(session.header().created, "2023-11-14T22:13:20.000Z");
  ASSERT_EQ(session.Entries().size(), 2u);
  const Json& first = session.Entries()[0];
  EXPECT_TRUE(IsId(first["id"].get<std::string>()));
  EXPECT_EQ(first["time"], "2023-11-14T22:13:21.000Z");
  EXPECT_EQ(first["message"], (Json{{"a", 1}}));
  EXPECT_EQ(session.Entries()[1]["type"], "compaction");
  EXPECT_NE(session.Entries()[1]["id"], first["id"]);
}

TEST_F(SessionTest, ShowsWhatIsOnDisk) {
  Session session = *Open();
  ASSERT_TRUE(session.Append({{{"type", "message"}, {"text", "a\xFF"}}}));
  EXPECT_EQ(session.Entries()[0]["text"], "a\uFFFD");
  EXPECT_EQ(ReadTranscript(directory_.get(), "main")->entries, session.Entries());
}

TEST_F(SessionTest, RefusesEntriesThatItCouldNotReadBack) {
  Session session = *Open();
  for (const Json& entry :
       {Json(1), Json::object(), Json{{"type", 1}}, Json{{"type", "message"}, {"id", "x"}},
        Json{{"type", "message"}, {"time", "x"}}})
    EXPECT_EQ(session.Append({{{"type", "message"}}, entry}).error().code,
              ErrorCode::kInvalidArgument);
  Json deep = 1;
  for (std::size_t i = 0; i < kLineLimits.max_depth; ++i) deep = Json::array({std::move(deep)});
  EXPECT_EQ(session.Append({{{"type", "message"}, {"deep", deep}}}).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_TRUE(session.Entries().empty());
  EXPECT_TRUE(ReadTranscript(directory_.get(), "main")->entries.empty());
}

TEST_F(SessionTest, CutsOffATornLineAndSaysSo) {
  ASSERT_TRUE((*Open()).Append({{{"type", "message"}}}));
  const std::string whole = Text();
  Put(whole + "{\"type\":");
  {
    const Session session = *Open();
    EXPECT_EQ(session.torn_bytes(), 8u);
    EXPECT_EQ(session.Entries().size(), 1u);
  }
  EXPECT_EQ(Text(), whole);
}

TEST_F(SessionTest, BeginsAgainWhenTheFirstWriterDiedInItsHeader) {
  Put("{\"created\":");
  EXPECT_EQ(Open()->torn_bytes(), 11u);
  EXPECT_EQ(ReadTranscript(directory_.get(), "main")->header.id, "main");
}

TEST_F(SessionTest, LeavesADamagedTranscriptAsItIs) {
  ASSERT_TRUE((*Open()).Append({{{"type", "message"}}, {{"type", "message"}}}));
  std::string text = Text() + "torn";
  text[text.find('\n') + 1] = '[';
  Put(text);
  const auto session = Open();
  EXPECT_EQ(session.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(session.error().message, HasSubstr("session 'main', line 2"));
  EXPECT_EQ(Text(), text);
}

TEST_F(SessionTest, IsOfOneWorkspaceOnly) {
  ASSERT_TRUE(Open());
  EXPECT_EQ(
      Session::Open(directory_.get(), "main", "bob", clock_, Deadline::Never(), {}).error().code,
      ErrorCode::kCorrupt);
}

TEST_F(SessionTest, NoIdLeadsOutOfTheFolder) {
  for (const char* id : {"../main", "a/b", "", "..", "a.b"})
    EXPECT_EQ(Open(id).error().code, ErrorCode::kInvalidArgument) << id;
}

TEST_F(SessionTest, IsForOneRunAtATime) {
  auto first = Open();
  ASSERT_TRUE(first);
  EXPECT_EQ(Open("main", Deadline::After(std::chrono::milliseconds(2))).error().code,
            ErrorCode::kTimeout);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(Open("main", Deadline::Never(), stop.get_token()).error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(Open("another"));
  std::jthread second([&] {
    auto session = Open();
    ASSERT_TRUE(session);
    EXPECT_EQ(session->Entries().size(), 1u);
  });
  ASSERT_TRUE(first->Append({{{"type", "message"}}}));
  first = Err(ErrorCode::kBusy, "ended");
}

TEST_F(SessionTest, RunsThatComeTogetherAllKeepTheirEntries) {
  {
    std::vector<std::jthread> runs;
    for (int run = 0; run < 4; ++run)
      runs.emplace_back([this, run] {
        for (int i = 0; i < 5; ++i)
          EXPECT_TRUE(Open()->Append({{{"type", "message"}, {"run", std::to_string(run)}}}));
      });
  }
  const Session session = *Open();
  EXPECT_EQ(session.Entries().size(), 20u);
  for (int run = 0; run < 4; ++run)
    EXPECT_EQ(std::ranges::count(session.Entries(), std::to_string(run),
                                 [](const Json& entry) { return entry["run"].get<std::string>(); }),
              5);
}

TEST_F(SessionTest, LosesNothingWhenTheDiskIsFull) {
  EXPECT_TRUE(storage::InChildWithFileSizeLimit(1000, [&] {
    Session session = *Open();
    const bool small = session.Append({{{"type", "message"}}}).has_value();
    const bool large =
        session.Append({{{"type", "message"}, {"text", std::string(5000, 'x')}}}).has_value();
    const bool again = session.Append({{{"type", "message"}}}).has_value();
    return small && !large && again && session.Entries().size() == 2 &&
           ReadTranscript(directory_.get(), "main")->entries.size() == 2;
  }));
}

}  // namespace
}  // namespace cofferdam::sessions
