// The seven tools in a real sandbox: what the model gets to read, and what is in the files after.
#include <sys/stat.h>

#include "fixture.h"
#include "sandbox/diagnose.h"

namespace cofferdam::e2e {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using ToolsTest = PlatformFixture;

std::string Numbered(int from, int to) {
  std::string text;
  for (int i = from; i <= to; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

/// Whether the sandbox has a control group here; without one there is no memory limit to reach.
bool HasControlGroups() {
  for (const sandbox::LayerDiagnosis& layer : sandbox::Diagnose().layers)
    if (layer.layer == sandbox::Layer::kCgroup) return layer.available;
  return false;
}

TEST_F(ToolsTest, ReadShowsAFileAndSaysWhatIsLeft) {
  PutFile("long.txt", Numbered(1, 2500));
  const std::string all = Call("read", "{path: long.txt}");
  EXPECT_THAT(all, StartsWith(Numbered(1, 3)));
  EXPECT_THAT(all, EndsWith("[lines 1 to 2000 of 2500; go on with offset=2001]\n"));
  EXPECT_EQ(Call("read", "{path: long.txt, offset: 2001}"), Numbered(2001, 2500));
  EXPECT_EQ(Call("read", "{path: /workspace/long.txt, offset: 7, limit: 2}"),
            Numbered(7, 8) + "[lines 7 to 8 of 2500; go on with offset=9]\n");
  EXPECT_THAT(Call("read", "{path: long.txt, offset: 2501}"),
              HasSubstr("offset 2501 is beyond the end: long.txt has 2500 lines"));
}

TEST_F(ToolsTest, ReadGoesBeyondOneChunkOfAFile) {
  PutFile("big.txt", Numbered(1, 300'000));
  EXPECT_EQ(Call("read", "{path: big.txt, offset: 299999, limit: 2}"), Numbered(299'999, 300'000));
}

TEST_F(ToolsTest, ReadSaysWhatIsNoText) {
  PutFile("binary", std::string("\x7f"
                                "ELF\0\0",
                                6));
  PutFile("empty", "");
  EXPECT_THAT(Call("read", "{path: binary}"), HasSubstr("binary file of 6 bytes"));
  EXPECT_THAT(Call("read", "{path: empty}"), HasSubstr("the file is empty"));
  EXPECT_THAT(Call("read", "{path: /workspace}"), HasSubstr("is a directory"));
  EXPECT_THAT(Call("read", "{path: missing}"), HasSubstr("does not exist"));
  EXPECT_THAT(Call("read", "{path: /dev/zero}"), HasSubstr("not a regular file"));
}

TEST_F(ToolsTest, WriteMakesDirectoriesAndReplaces) {
  Call("write", "{path: a/b/c.txt, content: one}");
  EXPECT_EQ(GetFile("a/b/c.txt"), "one");
  Call("write", "{path: a/b/c.txt, content: ''}");
  EXPECT_EQ(GetFile("a/b/c.txt"), "");
  EXPECT_THAT(Call("write", "{path: a, content: x}"), HasSubstr("is a directory"));
  EXPECT_THAT(Call("write", "{path: /usr/x, content: x}"), StartsWith("Error: "));
}

TEST_F(ToolsTest, WriteRecordsWhatTheFileWasAndIs) {
  PutFile("a.txt", "old");
  const RunResult result = Play(R"(
turns:
  - tool_calls:
      - {name: write, arguments: {path: a.txt, content: abc}}
      - {name: write, arguments: {path: b.txt, content: abc}}
  - text: Done.
)");
  std::vector<json::Json> changes;
  for (const json::Json& event : Events(result))
    if (event.at("type") == "file.changed") changes.push_back(event.at("data"));
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_TRUE(changes[0].at("before").is_null()) << "found when the run began";
  EXPECT_EQ(changes[0].at("after").at("size"), 3);
  EXPECT_EQ(changes[1].at("before"), changes[0].at("after"));
  EXPECT_EQ(changes[1].at("after").at("sha256"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(changes[2].at("path"), "b.txt");
  EXPECT_TRUE(changes[2].at("before").is_null());
}

TEST_F(ToolsTest, EditChangesExactlyOnePlaceAndKeepsTheMode) {
  PutFile("run.sh", "echo one\necho two\necho one\n");
  ASSERT_EQ(::chmod((alice_->work_folder() + "/run.sh").c_str(), 0777), 0);
  EXPECT_THAT(Call("edit", "{path: run.sh, old_string: echo one, new_string: x}"),
              HasSubstr("old_string occurs 2 times, on lines 1, 3"));
  EXPECT_THAT(Call("edit", "{path: run.sh, old_string: echo three, new_string: x}"),
              HasSubstr("does not occur"));
  EXPECT_EQ(GetFile("run.sh"), "echo one\necho two\necho one\n");
  Call("edit", "{path: run.sh, old_string: echo two, new_string: echo 2}");
  Call("edit", "{path: run.sh, old_string: one, new_string: '1', replace_all: true}");
  EXPECT_EQ(GetFile("run.sh"), "echo 1\necho 2\necho 1\n");
  struct stat info{};
  ASSERT_EQ(::stat((alice_->work_folder() + "/run.sh").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0777U);
}

TEST_F(ToolsTest, BashKeepsLongOutputInAFileThatTheAgentCanRead) {
  const std::string text = Call("bash", "{command: 'seq 1 5000'}");
  EXPECT_THAT(text, StartsWith("1\n2\n3\n"));
  EXPECT_THAT(text, AllOf(HasSubstr("3000 lines ("), Not(HasSubstr("\n2500\n"))));
  EXPECT_THAT(text, EndsWith("4999\n5000\n"));
  constexpr std::string_view kWords = "the whole output is in ";
  const std::size_t at = text.find(kWords) + kWords.size();
  const std::string path = text.substr(at, text.find(' ', at) - at);
  EXPECT_THAT(path, StartsWith("/home/agent/.cofferdam/results/"));
  EXPECT_EQ(Call("read", "{path: " + path + ", offset: 2500, limit: 1}"),
            "2500\n[lines 2500 to 2500 of 5000; go on with offset=2501]\n");
}

TEST_F(ToolsTest, BashIsBashAndSaysHowACommandEnded) {
  EXPECT_EQ(Call("bash", "{command: 'x=(1 2); echo ${x[1]}'}"), "2\n");
  EXPECT_EQ(Call("bash", "{command: 'true'}"), "[no output]\n");
  EXPECT_EQ(Call("bash", "{command: 'printf x; exit 4'}"), "x\n[exit code 4]\n");
  EXPECT_THAT(Call("bash", "{command: 'kill -SEGV $$'}"),
              HasSubstr("[ended by signal 11, Segmentation fault]"));
  EXPECT_THAT(Call("bash", "{command: 'echo begun; sleep 1000', timeout: 1}"),
              AllOf(StartsWith("begun\n"), HasSubstr("[killed after 1 s, its timeout")));
}

TEST_F(ToolsTest, BashNamesTheLimitsThatWereReached) {
  if (!HasControlGroups()) GTEST_SKIP() << "no control groups here";
  EXPECT_THAT(Call("bash", "{command: 'head -c 200M /dev/zero | tail'}", {.memory_mib = 64}),
              HasSubstr("ran out of memory and processes were killed for it; the limit is 64 MiB"));
  PutFile("many.sh", "for i in $(seq 50); do sleep 100 & done\n");
  // Not with bash, which would try again for a quarter of a minute.
  EXPECT_THAT(
      Call("bash", "{command: 'sh many.sh'}", {.max_processes = 20}),
      HasSubstr("process limit was reached and new processes were refused; the limit is 20"));
}

TEST_F(ToolsTest, GrepFindAndLsShowWhatIsThere) {
  ASSERT_TRUE(sys::MakeDirectories(alice_->work_folder() + "/src/deep", 0755));
  PutFile("src/a.cc", "int Main();\nint x;\n");
  PutFile("src/deep/b.cc", "int main();\n");
  PutFile("src/c.txt", "main\n");
  EXPECT_EQ(Call("grep", "{pattern: 'main\\(', path: src, glob: '*.cc', ignore_case: true}"),
            "src/a.cc:1:int Main();\nsrc/deep/b.cc:1:int main();\n");
  EXPECT_EQ(Call("grep", "{pattern: 'main(', literal: true}"), "src/deep/b.cc:1:int main();\n");
  EXPECT_EQ(Call("grep", "{pattern: main, path: src/c.txt}"), "src/c.txt:1:main\n");
  EXPECT_EQ(Call("grep", "{pattern: nothing}"), "No matches.\n");
  EXPECT_THAT(Call("grep", "{pattern: '('}"), StartsWith("Error: "));
  EXPECT_THAT(Call("grep", "{pattern: main, ignore_case: true, limit: 1}"),
              HasSubstr("[there is more; "));
  EXPECT_EQ(Call("find", "{pattern: '*.cc'}"), "src/a.cc\nsrc/deep/b.cc\n");
  EXPECT_EQ(Call("find", "{pattern: '*.cc', path: /workspace/src/deep/}"),
            "/workspace/src/deep/b.cc\n");
  EXPECT_EQ(Call("find", "{pattern: '*.py'}"), "No files found.\n");
  EXPECT_EQ(Call("ls", "{path: src}"), "a.cc  19\nc.txt  5\ndeep/\n");
  EXPECT_THAT(Call("ls", "{path: src, limit: 1}"), HasSubstr("2 of 3 entries are not shown"));
  EXPECT_THAT(Call("ls", "{path: missing}"), StartsWith("Error: "));
}

TEST_F(ToolsTest, MountsAreWhereTheyWereAskedForAndReadOnlyUnlessSaid) {
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "data", 0755));
  ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
  std::ofstream(temp_ / "data/file") << "from the host";
  const Settings settings{.mounts = {{temp_ / "data", "/mnt/data", false}}};
  EXPECT_EQ(Call("bash", "{command: 'cat /mnt/data/file'}", settings), "from the host");
  EXPECT_THAT(Call("bash", "{command: 'echo x > /mnt/data/file'}", settings),
              HasSubstr("Read-only file system"));
}

}  // namespace
}  // namespace cofferdam::e2e
