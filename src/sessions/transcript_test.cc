#include "sessions/transcript.h"

#include <fcntl.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/atomic_file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sessions {
namespace {

using testing::HasSubstr;

constexpr std::string_view kHeader =
    R"({"created":"c","id":"main","type":"session","version":1,"workspace":"alice"})"
    "\n";
constexpr std::string_view kEntry = R"({"id":"1","run":"r","time":"t","type":"message"})"
                                    "\n";

class TranscriptTest : public testing::Test {
 protected:
  void Put(std::string_view text, std::string_view name = "main.jsonl") const {
    ASSERT_TRUE(storage::WriteFileAtomically(temp_ / name, text, 0600));
  }
  Result<Transcript> Read(const std::string& id = "main") const {
    return ReadTranscript(directory_.get(), id);
  }
  void ExpectWrong(std::string_view text, ErrorCode code, std::string_view what) const {
    Put(text);
    const auto transcript = Read();
    ASSERT_FALSE(transcript) << what;
    EXPECT_EQ(transcript.error().code, code);
    EXPECT_THAT(transcript.error().message, HasSubstr(what));
  }
  static std::string Joined(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text += part;
    return text;
  }

  const sys::TempDir temp_;
  const sys::UniqueFd directory_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(TranscriptTest, IsReadWithWhateverItsEntriesHold) {
  Put(Joined({kHeader, kEntry, kEntry}));
  const Transcript transcript = *Read();
  EXPECT_EQ(transcript.header.workspace, "alice");
  EXPECT_EQ(transcript.header.created, "c");
  ASSERT_EQ(transcript.entries.size(), 2u);
  EXPECT_EQ(transcript.entries[1]["run"], "r");
}

TEST_F(TranscriptTest, IsReadAsItsFormatIsDocumented) {
  const std::string page = *sys::ReadFile(COFFERDAM_SOURCE_DIR "/docs/formats/transcript.md");
  constexpr std::string_view kFence = "```jsonl\n";
  const std::size_t begin = page.find(kFence) + kFence.size();
  Put(page.substr(begin, page.find("```", begin) - begin));
  const Transcript transcript = *Read();
  EXPECT_EQ(transcript.header.workspace, "alice");
  EXPECT_EQ(transcript.entries.at(0)["type"], "message");
}

TEST_F(TranscriptTest, ALineThatIsBeingWrittenIsNotSeen) {
  Put(Joined({kHeader, kEntry, "{\"id\""}));
  EXPECT_EQ(Read()->entries.size(), 1u);
  Put("{\"created\"");
  EXPECT_EQ(Read().error().code, ErrorCode::kNotFound);
}

TEST_F(TranscriptTest, NamesTheLineThatIsDamaged) {
  ExpectWrong(Joined({kHeader, kEntry, "{\"id\"\n", kEntry}), ErrorCode::kCorrupt, "line 3: ");
  ExpectWrong(Joined({kHeader, "{\"id\":\"1\",\"time\":\"t\"}\n"}), ErrorCode::kCorrupt,
              "line 2: field 'type' is missing");
  ExpectWrong(Joined({kHeader, "\n"}), ErrorCode::kCorrupt, "line 2: ");
  ExpectWrong(kEntry, ErrorCode::kCorrupt, "line 1: not the header of a session");
  ExpectWrong(Joined({kHeader, kHeader}), ErrorCode::kCorrupt, "line 2: field 'time' is missing");
  ExpectWrong(Joined({kHeader, std::string(kLineLimits.max_bytes + 1, ' '), "\n"}),
              ErrorCode::kCorrupt, "line 2 is longer");
}

TEST_F(TranscriptTest, RefusesAnotherVersionAndTheHeaderOfAnotherSession) {
  ExpectWrong(R"({"created":"c","id":"main","type":"session","version":2,"workspace":"alice"})"
              "\n",
              ErrorCode::kUnsupported, "version 2");
  ExpectWrong(R"({"created":"c","id":"other","type":"session","version":1,"workspace":"alice"})"
              "\n",
              ErrorCode::kCorrupt, "another session");
}

TEST_F(TranscriptTest, NoIdLeadsOutOfTheFolder) {
  for (const char* id : {"../main", "a/b", "", "."})
    EXPECT_EQ(Read(id).error().code, ErrorCode::kInvalidArgument) << id;
  EXPECT_EQ(Read("missing").error().code, ErrorCode::kNotFound);
  Put(kHeader, "elsewhere");
  ASSERT_EQ(::symlink("elsewhere", (temp_ / "main.jsonl").c_str()), 0);
  EXPECT_FALSE(Read());
}

TEST_F(TranscriptTest, ListsSessionsByIdAndSaysWhichOnesAreDamaged) {
  Put(Joined({kHeader, kEntry, kEntry, "torn"}));
  Put(R"({"created":"c2","id":"empty","type":"session","version":1,"workspace":"alice"})"
      "\n",
      "empty.jsonl");
  Put("nonsense\n", "damaged.jsonl");
  Put("{\"cre", "begun.jsonl");
  Put("", "main.lock");
  Put("", "not a name.jsonl");
  const auto sessions = *ListSessions(directory_.get());
  ASSERT_EQ(sessions.size(), 3u);
  EXPECT_EQ(sessions[0].id, "damaged");
  EXPECT_THAT(sessions[0].problem, HasSubstr("JSON"));
  EXPECT_EQ(sessions[1].id, "empty");
  EXPECT_EQ(sessions[1].entries, 0u);
  EXPECT_EQ(sessions[1].last, "c2");
  EXPECT_EQ(sessions[1].problem, "");
  EXPECT_EQ(sessions[2].id, "main");
  EXPECT_EQ(sessions[2].created, "c");
  EXPECT_EQ(sessions[2].entries, 2u);
  EXPECT_EQ(sessions[2].last, "t");
}

TEST_F(TranscriptTest, AListSaysThatTheLastLineIsDamaged) {
  Put(Joined({kHeader, kEntry, "{}\n"}));
  const auto sessions = *ListSessions(directory_.get());
  EXPECT_EQ(sessions.at(0).entries, 2u);
  EXPECT_THAT(sessions.at(0).problem, HasSubstr("line 3: field 'id' is missing"));
}

}  // namespace
}  // namespace cofferdam::sessions
