#include "log/logger.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/fake_clock.h"
#include "log/testing/log_folder.h"

namespace cofferdam::log {
namespace {

using json::Json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LoggerTest : public testing::Test {
 protected:
  LoggerTest()
      : console_fd_(::open((folder_ / "console").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600)) {
    config_.console_fd = console_fd_;
    config_.file_path = folder_ / "x.log";
  }
  ~LoggerTest() override { ::close(console_fd_); }

  std::shared_ptr<Sink> OpenSink() const { return *Sink::Open(config_, clock_); }
  std::vector<std::string> File() const { return folder_.Lines("x.log"); }
  std::vector<std::string> Console() const { return folder_.Lines("console"); }

  const LogFolder folder_;
  const int console_fd_;
  FakeClock clock_;
  Config config_;
};

TEST_F(LoggerTest, WritesEachLevelWhereItPasses) {
  config_.file.general = Level::kDebug;
  config_.console.general = Level::kWarn;
  const Logger logger(OpenSink(), "test");
  logger.Fatal("f");
  logger.Error("e");
  logger.Warn("w");
  logger.Info("i");
  logger.Debug("d");
  logger.Trace("t");
  EXPECT_THAT(Console(), ElementsAre("[test] f", "[test] e", "[test] w"));
  EXPECT_THAT(File(), ElementsAre(HasSubstr("fatal"), HasSubstr("error"), HasSubstr("warn"),
                                  HasSubstr("info"), HasSubstr("debug")));
  EXPECT_TRUE(logger.Enabled(Level::kDebug));
  EXPECT_FALSE(logger.Enabled(Level::kTrace));
}

TEST_F(LoggerTest, WritesFileLinesAsJsonWithTheFieldsBesideTheRest) {
  Logger(OpenSink(), "test").Info("hello", {{"extra", 1}, {"name", std::string("x")}});
  ASSERT_THAT(File(), SizeIs(1));
  EXPECT_EQ(*json::Parse(File()[0]), (Json{{"time", "2023-11-14T22:13:20.000Z"},
                                           {"level", "info"},
                                           {"subsystem", "test"},
                                           {"message", "hello"},
                                           {"extra", 1},
                                           {"name", "x"}}));
}

TEST_F(LoggerTest, AChildHasItsOwnNameAndItsOwnLevel) {
  config_.console.subsystems = {{"memory/search", Level::kTrace}};
  const Logger memory(OpenSink(), "memory");
  const Logger search = memory.Child("search");
  EXPECT_EQ(search.subsystem(), "memory/search");
  memory.Info("quiet");
  search.Trace("loud");
  EXPECT_THAT(Console(), ElementsAre("[memory/search] loud"));
}

TEST_F(LoggerTest, SilentLetsNothingThrough) {
  config_.console.general = Level::kSilent;
  config_.file.general = Level::kSilent;
  const Logger logger(OpenSink(), "test");
  EXPECT_FALSE(logger.Enabled(Level::kFatal));
  logger.Fatal("f");
  EXPECT_THAT(Console(), IsEmpty());
  EXPECT_THAT(File(), IsEmpty());
}

TEST_F(LoggerTest, ADefaultOneDropsEverything) {
  const Logger logger;
  EXPECT_FALSE(logger.Enabled(Level::kFatal));
  logger.Fatal("f", {{"a", 1}});
  logger.Child("x").Fatal("f");
}

TEST_F(LoggerTest, WritesTheConsoleStyleThatIsAskedFor) {
  config_.console_style = ConsoleStyle::kPretty;
  Logger(OpenSink(), "test").Warn("pretty");
  config_.console_style = ConsoleStyle::kJson;
  Logger(OpenSink(), "test").Warn("json");
  EXPECT_THAT(Console(), ElementsAre("2023-11-14T22:13:20.000Z [WARN ] [test] pretty",
                                     testing::StartsWith("{\"time\"")));
}

TEST_F(LoggerTest, RefusesAConfigurationWithoutRoomAndAFileThatCannotBe) {
  config_.max_files = 0;
  EXPECT_EQ(Sink::Open(config_, clock_).error().code, ErrorCode::kConfig);
  config_.max_files = 1;
  config_.max_file_bytes = 0;
  EXPECT_EQ(Sink::Open(config_, clock_).error().code, ErrorCode::kConfig);
  config_.max_file_bytes = 1;
  config_.file_path = folder_ / "missing/x.log";
  EXPECT_EQ(Sink::Open(config_, clock_).error().code, ErrorCode::kOs);
}

TEST_F(LoggerTest, GoesOnAfterTheFileBrokeAndCountsWhatWasLost) {
  std::filesystem::create_directory(folder_ / "logs");
  config_.file_path = folder_ / "logs/x.log";
  config_.max_file_bytes = 1;  // Each line goes into a new file, so each needs the folder.
  const auto sink = OpenSink();
  const Logger logger(sink, "test");
  logger.Info("first");
  std::filesystem::remove_all(folder_ / "logs");
  logger.Info("lost");
  std::filesystem::create_directory(folder_ / "logs");
  logger.Info("lost too: the file is left alone for a while");
  EXPECT_EQ(sink->dropped(), 2u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "logs/x.log"));
  clock_.Advance(Sink::kReopenMillis);
  logger.Info("there again");
  EXPECT_EQ(sink->dropped(), 2u);
  EXPECT_THAT(folder_.Lines("logs/x.log"), ElementsAre(HasSubstr("there again")));
}

TEST_F(LoggerTest, LinesOfSeveralThreadsStayWhole) {
  config_.max_file_bytes = 4000;
  config_.max_files = 1000;
  config_.console.general = Level::kInfo;
  const auto sink = OpenSink();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&sink, t] {
        const Logger logger(sink, "thread");
        for (int i = 0; i < 100; ++i) logger.Info("line", {{"thread", t}, {"line", i}});
      });
  }
  EXPECT_THAT(Console(), SizeIs(400));
  std::size_t lines = 0;
  for (const std::string& name : folder_.Names()) {
    if (name == "console") continue;
    for (const std::string& line : folder_.Lines(name)) {
      EXPECT_TRUE(json::Parse(line)) << line;
      ++lines;
    }
  }
  EXPECT_EQ(lines, 400u);
  EXPECT_EQ(sink->dropped(), 0u);
}

}  // namespace
}  // namespace cofferdam::log
