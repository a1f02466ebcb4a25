// The tool server run hosted: in a fork of the test, in a directory of the test's own, over a
// socketpair on which the test speaks frames.
#include "worker/tool_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/process.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::worker {
namespace {

namespace v1 = protocol::v1;
using testing::HasSubstr;

// Only a test that has failed waits so long.
constexpr std::chrono::seconds kPatience{30};

struct Finished {
  std::string out, err, content;
  v1::OpExit exit;
};

class ToolServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = sys::NewSocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair);
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      pair->first.Reset();
      if (::chdir(dir_.path().c_str()) == 0) ServeTools(pair->second.get(), -1);
      ::_exit(0);
    }
    socket_ = std::move(pair->first);
  }

  void TearDown() override {
    socket_.Reset();
    if (pid_ < 0) return;
    EXPECT_TRUE(WIFEXITED(*sys::Reap(pid_))) << "the server ends by itself";
  }

  // ---- The channel

  void SendRaw(std::string_view bytes) { ASSERT_TRUE(sys::WriteAll(socket_.get(), bytes)); }
  void Send(const v1::HostFrame& frame) {
    SendRaw(protocol::EncodeFrame(frame.SerializeAsString()));
  }
  std::string Send(v1::ControlRequest request) {
    if (request.request_id().empty()) request.set_request_id("r" + std::to_string(++last_id_));
    v1::HostFrame frame;
    *frame.mutable_request() = request;
    Send(frame);
    return request.request_id();
  }

  // The next frame; nothing at the end of the stream.
  std::optional<v1::WorkerFrame> Receive() {
    if (!frames_.empty()) {
      v1::WorkerFrame frame = std::move(frames_.front());
      frames_.pop_front();
      return frame;
    }
    return ReceiveNew();
  }

  std::optional<v1::WorkerFrame> ReceiveNew() {
    const Deadline deadline = Deadline::After(kPatience);
    for (;;) {
      if (auto bytes = decoder_.Next()) {
        v1::WorkerFrame frame;
        EXPECT_TRUE(frame.ParseFromString(*bytes));
        return frame;
      }
      pollfd waiting{socket_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, deadline.PollTimeoutMillis()) == 0) {
        ADD_FAILURE() << "the server says nothing";
        return std::nullopt;
      }
      std::array<char, 65536> buffer;
      const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (size <= 0) return std::nullopt;
      EXPECT_TRUE(decoder_.Feed({buffer.data(), static_cast<std::size_t>(size)}));
    }
  }

  // The answer to `id`; what comes before it is kept for Receive.
  v1::ControlResponse Answer(const std::string& id) {
    std::deque<v1::WorkerFrame> others;
    v1::ControlResponse answer;
    for (;;) {
      auto frame = Receive();
      if (!frame) {
        ADD_FAILURE() << "no answer to " << id;
        break;
      }
      if (frame->has_response() && frame->response().request_id() == id) {
        answer = frame->response();
        break;
      }
      others.push_back(std::move(*frame));
    }
    for (v1::WorkerFrame& frame : frames_) others.push_back(std::move(frame));
    frames_ = std::move(others);
    return answer;
  }

  v1::ControlResponse Call(v1::ControlRequest request) { return Answer(Send(std::move(request))); }

  // ---- Operations

  static v1::OpStart Shell(const std::string& line) {
    v1::OpStart start;
    start.mutable_exec()->set_shell(true);
    start.mutable_exec()->add_command(line);
    (*start.mutable_exec()->mutable_env())["PATH"] = "/usr/bin:/bin";
    start.set_window_bytes(1 << 20);
    return start;
  }
  // The process that has a file without a name in the directory, when there is one.
  pid_t WaitForWriter() {
    const Deadline deadline = Deadline::After(kPatience);
    while (!deadline.Expired()) {
      for (const std::string& pid : NamesIn("/proc"))
        for (const std::string& fd : NamesIn("/proc/" + pid + "/fd")) {
          std::error_code gone;
          const auto file = std::filesystem::read_symlink("/proc/" + pid + "/fd/" + fd, gone);
          if (file.string().starts_with(dir_ / "#")) return std::stoi(pid);
        }
    }
    ADD_FAILURE() << "no write has begun";
    return -1;
  }
  static std::vector<std::string> NamesIn(const std::string& directory) {
    const auto fd = sys::Open(directory, O_RDONLY | O_DIRECTORY);
    return fd ? sys::ListDirectory(fd->get()).value_or(std::vector<std::string>())
              : std::vector<std::string>();
  }
  static v1::OpStart Write(const std::string& path) {
    v1::OpStart start;
    start.mutable_fs_write()->set_path(path);
    return start;
  }
  static v1::ControlRequest Request(const std::string& id, const v1::OpStart& start) {
    v1::ControlRequest request;
    request.set_request_id(id);
    *request.mutable_op_start() = start;
    return request;
  }
  static v1::ControlRequest Chunk(const std::string& id, const std::string& bytes, bool last) {
    v1::ControlRequest request;
    request.mutable_write_chunk()->set_op_id(id);
    request.mutable_write_chunk()->set_seq(1);
    request.mutable_write_chunk()->set_bytes(bytes);
    request.mutable_write_chunk()->set_last(last);
    return request;
  }
  static v1::ControlRequest Cancel(const std::string& id) {
    v1::ControlRequest request;
    request.mutable_op_cancel()->set_op_id(id);
    return request;
  }
  v1::OpStatus Query(const std::string& id) {
    v1::ControlRequest request;
    request.mutable_op_query()->set_op_id(id);
    return Call(request).op_status();
  }
  void Grant(const std::string& id, std::uint64_t credit_bytes) {
    v1::HostFrame frame;
    frame.mutable_ack()->set_op_id(id);
    frame.mutable_ack()->set_credit_bytes(credit_bytes);
    Send(frame);
  }

  void Start(const std::string& id, const v1::OpStart& start) {
    const v1::ControlResponse response = Call(Request(id, start));
    EXPECT_TRUE(response.op_started().accepted()) << response.error().message();
  }

  // Takes one frame of an operation into `finished`. False at the end of the stream.
  bool Take(const std::string& id, Finished& finished) {
    std::deque<v1::WorkerFrame> others;
    for (;;) {
      const auto frame = Receive();
      if (!frame) return false;
      if (!frame->has_frame() || frame->frame().op_id() != id) {
        others.push_back(*frame);
        continue;
      }
      for (v1::WorkerFrame& later : frames_) others.push_back(std::move(later));
      frames_ = std::move(others);
      EXPECT_EQ(frame->frame().seq(), ++last_seq_[id]);
      if (frame->frame().has_exit()) finished.exit = frame->frame().exit();
      const v1::OpData& data = frame->frame().data();
      switch (data.channel()) {
        case v1::OP_CHANNEL_STDOUT:
          finished.out += data.bytes();
          break;
        case v1::OP_CHANNEL_STDERR:
          finished.err += data.bytes();
          break;
        default:
          finished.content += data.bytes();
      }
      ended_[id] |= frame->frame().has_exit();
      return true;
    }
  }
  Finished Finish(const std::string& id) {
    Finished finished;
    while (!ended_[id] && Take(id, finished)) {
    }
    EXPECT_TRUE(ended_[id]) << id;
    return finished;
  }
  // Reads the first line that an operation prints.
  std::string FirstLine(const std::string& id) {
    Finished finished;
    while (!ended_[id] && finished.out.find('\n') == std::string::npos && Take(id, finished)) {
    }
    return finished.out.substr(0, finished.out.find('\n'));
  }
  Finished Run(const v1::OpStart& start) {
    const std::string id = "run" + std::to_string(++last_id_);
    Start(id, start);
    return Finish(id);
  }

  // ---- The world

  std::string FileText(const std::string& name) {
    return sys::ReadFile(dir_ / name).value_or("(no such file)");
  }
  void PutFile(const std::string& name, const std::string& text, mode_t mode = 0644) {
    const auto fd = sys::Open(dir_ / name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    ASSERT_TRUE(fd && sys::WriteAll(fd->get(), text));
    ASSERT_EQ(::fchmod(fd->get(), mode), 0);
  }
  std::vector<std::string> Names() {
    auto names = *sys::ListDirectory(sys::Open(dir_.path(), O_RDONLY | O_DIRECTORY)->get());
    std::ranges::sort(names);
    return names;
  }
  static sys::UniqueFd PidFd(const std::string& pid) {
    return sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(pid), 0)));
  }
  static bool Ends(const sys::UniqueFd& pidfd) {
    return sys::WaitForEnd(pidfd.get(), Deadline::After(kPatience)).has_value();
  }
  // The server closes the channel and ends.
  void ExpectTheServerEnds() {
    while (Receive()) {
    }
    EXPECT_TRUE(WIFEXITED(*sys::Reap(std::exchange(pid_, -1))));
  }

  sys::TempDir dir_;
  pid_t pid_ = -1;
  sys::UniqueFd socket_;
  protocol::FrameDecoder decoder_;
  std::deque<v1::WorkerFrame> frames_;
  std::map<std::string, std::uint64_t> last_seq_;
  std::map<std::string, bool> ended_;
  int last_id_ = 0;
};

TEST_F(ToolServerTest, AnswersAPing) {
  v1::ControlRequest request;
  request.mutable_ping()->set_nonce(42);
  EXPECT_EQ(Call(request).ping().nonce(), 42u);
}

// ---- Commands

TEST_F(ToolServerTest, KeepsStreamsApartAndTellsTheExitCode) {
  const Finished finished = Run(Shell("echo out; echo err >&2; exit 7"));
  EXPECT_EQ(finished.out, "out\n");
  EXPECT_EQ(finished.err, "err\n");
  EXPECT_EQ(finished.exit.exit_code(), 7);
  EXPECT_EQ(finished.exit.signal(), 0);
  EXPECT_EQ(finished.exit.totals().at(v1::OP_CHANNEL_STDOUT), 4u);
  EXPECT_EQ(finished.exit.totals().at(v1::OP_CHANNEL_STDERR), 4u);
}

TEST_F(ToolServerTest, TellsTheSignalThatEndedACommand) {
  const Finished finished = Run(Shell("kill -TERM $$"));
  EXPECT_EQ(finished.exit.signal(), SIGTERM);
  EXPECT_EQ(finished.exit.exit_code(), 128 + SIGTERM);
  EXPECT_FALSE(finished.exit.has_error());
}

TEST_F(ToolServerTest, GivesACommandExactlyItsEnvironmentAndDirectoryAndNoDescriptor) {
  ASSERT_EQ(::mkdir((dir_ / "sub").c_str(), 0755), 0);
  v1::OpStart start;
  start.mutable_exec()->add_command("/usr/bin/env");
  (*start.mutable_exec()->mutable_env())["B"] = "2 and = more";
  (*start.mutable_exec()->mutable_env())["A"] = "1";
  const std::string environment = Run(start).out;
  EXPECT_TRUE(environment == "A=1\nB=2 and = more\n" || environment == "B=2 and = more\nA=1\n")
      << environment;
  start = Shell("pwd; ls /proc/$$/fd");
  start.mutable_exec()->set_cwd("sub");
  EXPECT_EQ(Run(start).out, dir_ / "sub" + "\n0\n1\n2\n");
}

TEST_F(ToolServerTest, SaysWhatKeptACommandFromStarting) {
  v1::OpStart start;
  start.mutable_exec()->add_command("no-such-program");
  Finished finished = Run(start);
  EXPECT_EQ(finished.exit.error().code(), v1::ERROR_NOT_FOUND);
  EXPECT_THAT(finished.exit.error().message(), HasSubstr("no-such-program"));
  EXPECT_EQ(finished.exit.exit_code(), 127);
  start = Shell("echo x > ran");
  start.mutable_exec()->set_cwd("nowhere");
  finished = Run(start);
  EXPECT_EQ(finished.exit.error().sys_errno(), ENOENT);
  EXPECT_THAT(finished.exit.error().message(), HasSubstr("working directory 'nowhere'"));
  EXPECT_THAT(Names(), testing::IsEmpty());
}

TEST_F(ToolServerTest, RefusesWhatItCannotRun) {
  v1::OpStart start;
  start.mutable_exec();
  EXPECT_EQ(Call(Request("a", start)).error().code(), v1::ERROR_PROTOCOL);
  start.mutable_exec()->add_command(std::string(600'000, 'x'));
  EXPECT_EQ(Call(Request("b", start)).error().code(), v1::ERROR_PROTOCOL);
  EXPECT_EQ(Call(Request("c", {})).error().code(), v1::ERROR_PROTOCOL);
  v1::ControlRequest unknown;
  EXPECT_EQ(Call(unknown).error().code(), v1::ERROR_UNSUPPORTED);
}

TEST_F(ToolServerTest, StreamsInputAndAcknowledgesEveryChunk) {
  v1::OpStart start = Shell("cat");
  start.mutable_exec()->set_stdin_follows(true);
  Start("op", start);
  EXPECT_TRUE(Call(Chunk("op", "one ", false)).has_write_chunk());
  EXPECT_TRUE(Call(Chunk("op", "", false)).has_write_chunk());
  EXPECT_TRUE(Call(Chunk("op", "two", true)).has_write_chunk());
  EXPECT_EQ(Finish("op").out, "one two");
}

TEST_F(ToolServerTest, GivesInputThatCameWithTheStart) {
  v1::OpStart start = Shell("cat");
  start.mutable_exec()->set_stdin("whole");
  EXPECT_EQ(Run(start).out, "whole");
  EXPECT_EQ(Run(Shell("cat")).out, "") << "without input it is empty";
}

TEST_F(ToolServerTest, RefusesInputThatNobodyTakes) {
  EXPECT_EQ(Call(Chunk("nothing", "x", true)).error().code(), v1::ERROR_NOT_FOUND);
  Start("op", Shell("echo ready; exec sleep 1000"));
  FirstLine("op");
  EXPECT_EQ(Call(Chunk("op", "x", true)).error().code(), v1::ERROR_PROTOCOL);
  v1::OpStart start = Shell("echo ready; exec sleep 1000");
  start.mutable_exec()->set_stdin_follows(true);
  Start("slow", start);
  FirstLine("slow");
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(Send(Chunk("slow", std::string(200'000, 'x'), false)));
  EXPECT_EQ(Answer(ids.back()).error().code(), v1::ERROR_PROTOCOL) << "it queues only so much";
}

TEST_F(ToolServerTest, AnswersEveryChunkThatACommandDidNotLiveToTake) {
  v1::OpStart start = Shell("echo $$; exec sleep 1000");
  start.mutable_exec()->set_stdin_follows(true);
  Start("op", start);
  const std::string pid = FirstLine("op");
  // Held by another, the pipe does not break when the command ends.
  Start("holder", Shell("exec 3</proc/" + pid + "/fd/0; echo holding; exec sleep 1000"));
  ASSERT_EQ(FirstLine("holder"), "holding");
  const std::string first = Send(Chunk("op", std::string(250'000, 'x'), false));
  const std::string second = Send(Chunk("op", "rest", true));
  Call(Cancel("op"));
  Finish("op");
  EXPECT_TRUE(Answer(first).has_error());
  EXPECT_TRUE(Answer(second).has_error());
}

TEST_F(ToolServerTest, SendsNoMoreThanItWasGranted) {
  constexpr std::size_t kOutput = 1'000'000;
  v1::OpStart start = Shell("head -c 1000000 /dev/zero");
  start.set_window_bytes(1);
  Start("op", start);
  // The least that is granted is one frame.
  Finished finished;
  while (finished.out.size() < protocol::kMaxDataBytes) ASSERT_TRUE(Take("op", finished));
  EXPECT_EQ(finished.out.size(), protocol::kMaxDataBytes);
  std::uint64_t credit = protocol::kMaxDataBytes;
  while (finished.out.size() < kOutput) {
    // Long enough for whatever would be sent without credit.
    EXPECT_EQ(Run(Shell("true")).exit.exit_code(), 0);
    EXPECT_TRUE(frames_.empty()) << "something came without credit";
    EXPECT_EQ(Query("op").state(), v1::OP_STATE_RUNNING);
    credit += 300'000;
    Grant("op", credit);
    while (finished.out.size() < std::min(credit, kOutput)) ASSERT_TRUE(Take("op", finished));
    EXPECT_LE(finished.out.size(), credit);
  }
  EXPECT_EQ(Finish("op").exit.totals().at(v1::OP_CHANNEL_STDOUT), kOutput);
}

TEST_F(ToolServerTest, TakesNoCreditBack) {
  v1::OpStart start = Shell("head -c 150000 /dev/zero");
  start.set_window_bytes(200'000);
  Start("op", start);
  Grant("op", 1);
  EXPECT_EQ(Finish("op").out.size(), 150'000u);
}

TEST_F(ToolServerTest, EndsACommandAtItsTimeout) {
  v1::OpStart start = Shell("trap '' TERM; sleep 1000; sleep 1000");
  start.mutable_exec()->set_timeout_ms(100);
  const Finished finished = Run(start);
  EXPECT_TRUE(finished.exit.timed_out());
  EXPECT_FALSE(finished.exit.cancelled());
  EXPECT_EQ(finished.exit.signal(), SIGKILL);
}

TEST_F(ToolServerTest, EndsAnOperationAtAnAbsoluteDeadline) {
  v1::OpStart start = Shell("sleep 1000");
  start.set_deadline_ms(1);
  EXPECT_TRUE(Run(start).exit.timed_out());
}

TEST_F(ToolServerTest, KillsWhatACommandLeavesBehind) {
  const Finished finished =
      Run(Shell("(setsid sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null &)\n"
                "until test -s pid; do :; done; cat pid"));
  ASSERT_FALSE(finished.out.empty());
  EXPECT_FALSE(PidFd(finished.out).valid()) << "still there when the operation had ended";
}

TEST_F(ToolServerTest, CancelsARunningCommandWithItsWholeTree) {
  Start("op", Shell("(setsid sh -c 'echo $$; exec sleep 1000' &); sleep 1000"));
  const std::string pid = FirstLine("op");
  const sys::UniqueFd process = PidFd(pid);
  ASSERT_TRUE(process.valid());
  EXPECT_EQ(Call(Cancel("op")).op_status().state(), v1::OP_STATE_RUNNING);
  const Finished finished = Finish("op");
  EXPECT_TRUE(finished.exit.cancelled());
  EXPECT_TRUE(Ends(process));
  EXPECT_TRUE(Query("op").exit().cancelled());
}

TEST_F(ToolServerTest, RunsNothingThatWasCancelledBeforeItCame) {
  EXPECT_EQ(Call(Cancel("late")).op_status().state(), v1::OP_STATE_COMPLETE);
  const v1::ControlResponse response = Call(Request("late", Shell("echo x > ran")));
  EXPECT_FALSE(response.op_started().accepted());
  EXPECT_TRUE(response.op_started().status().exit().cancelled());
  Run(Shell("true"));
  EXPECT_THAT(Names(), testing::IsEmpty());
}

TEST_F(ToolServerTest, RunsAnOperationOnceHoweverOftenItIsSent) {
  const v1::OpStart start = Shell("echo x >> counter; echo started; read line; exit 5");
  v1::OpStart with_input = start;
  with_input.mutable_exec()->set_stdin_follows(true);
  EXPECT_EQ(Query("op").state(), v1::OP_STATE_LOST) << "of an unknown one nothing is known";
  Start("op", with_input);
  EXPECT_EQ(FirstLine("op"), "started");
  v1::ControlResponse again = Call(Request("op", with_input));
  EXPECT_FALSE(again.op_started().accepted());
  EXPECT_EQ(again.op_started().status().state(), v1::OP_STATE_RUNNING);
  EXPECT_EQ(Query("op").state(), v1::OP_STATE_RUNNING);
  Call(Chunk("op", "go\n", true));
  EXPECT_EQ(Finish("op").exit.exit_code(), 5);
  again = Call(Request("op", with_input));
  EXPECT_FALSE(again.op_started().accepted());
  EXPECT_EQ(again.op_started().status().state(), v1::OP_STATE_COMPLETE);
  EXPECT_EQ(again.op_started().status().exit().exit_code(), 5);
  EXPECT_EQ(Query("op").state(), v1::OP_STATE_COMPLETE);
  Run(Shell("true"));
  EXPECT_EQ(FileText("counter"), "x\n");
}

TEST_F(ToolServerTest, TellsThatASupervisorWasKilledAndEndsItsProcesses) {
  // The fifo holds the killing back until the test knows the stray.
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  Start("op", Shell("(setsid sh -c 'echo $$; exec sleep 1000' &); read x < fifo; kill -9 $PPID;"
                    "exec sleep 1000"));
  const sys::UniqueFd stray = PidFd(FirstLine("op"));
  ASSERT_TRUE(stray.valid());
  const auto fifo = sys::Open(dir_ / "fifo", O_WRONLY);
  ASSERT_TRUE(fifo && sys::WriteAll(fifo->get(), "go\n"));
  const Finished finished = Finish("op");
  EXPECT_EQ(finished.exit.error().code(), v1::ERROR_OS);
  EXPECT_THAT(finished.exit.error().message(), HasSubstr("supervisor was killed"));
  EXPECT_TRUE(Ends(stray));
  EXPECT_EQ(Run(Shell("echo alive")).out, "alive\n");
}

TEST_F(ToolServerTest, EndsAnOperationWhoseOutputAnotherHolds) {
  Start("one", Shell("echo $$; exec sleep 1000"));
  const std::string pid = FirstLine("one");
  Start("two", Shell("exec 3>/proc/" + pid + "/fd/1; echo holding; exec sleep 1000"));
  ASSERT_EQ(FirstLine("two"), "holding");
  Call(Cancel("one"));
  EXPECT_TRUE(Finish("one").exit.cancelled());
  EXPECT_EQ(Query("two").state(), v1::OP_STATE_RUNNING);
}

TEST_F(ToolServerTest, TakesSoManyOperationsAndNoMore) {
  constexpr int kMaxRunning = 64;
  v1::OpStart start = Shell("exec sleep 1000");
  for (int i = 0; i < kMaxRunning; ++i) Start("op" + std::to_string(i), start);
  EXPECT_EQ(Call(Request("more", Shell("echo x > ran"))).error().code(), v1::ERROR_DRAINING);
  v1::ControlRequest stat;
  stat.mutable_fs_stat()->set_path(".");
  EXPECT_EQ(Call(stat).error().code(), v1::ERROR_DRAINING);
  Call(Cancel("op7"));
  Finish("op7");
  EXPECT_EQ(Run(Shell("echo now")).out, "now\n");
  EXPECT_THAT(Names(), testing::IsEmpty());
}

TEST_F(ToolServerTest, RefusesIllegalIds) {
  for (const std::string& id :
       {std::string("a b"), std::string("a.b"), std::string("*"), std::string("a>b"),
        std::string("a\nb"), std::string("\u00e9"), std::string(129, 'x')}) {
    v1::ControlRequest request = Request(id, Shell("echo x > ran"));
    // What is too long to be said again is not; the answer is known by its error.
    const std::string answered_to = id.size() > 128 ? "" : id;
    Send(request);
    EXPECT_EQ(Answer(answered_to).error().code(), v1::ERROR_PROTOCOL) << id;
    EXPECT_EQ(Call(Cancel(id)).error().code(), v1::ERROR_PROTOCOL) << id;
    v1::ControlRequest query;
    query.mutable_op_query()->set_op_id(id);
    EXPECT_EQ(Call(query).error().code(), v1::ERROR_PROTOCOL) << id;
  }
  EXPECT_EQ(Run(Shell("true")).exit.exit_code(), 0);
  EXPECT_THAT(Names(), testing::IsEmpty());
  Start(std::string(128, 'x'), Shell("true"));
}

TEST_F(ToolServerTest, AnswersARequestWhoseNameFillsAFrame) {
  v1::ControlRequest request;
  request.mutable_ping()->set_nonce(9);
  request.set_request_id(std::string(protocol::kMaxFrameBytes - 16, 'x'));
  Send(request);
  EXPECT_EQ(Answer("").ping().nonce(), 9u);
  v1::OpStart start = Shell("true");
  start.mutable_exec()->set_cwd(std::string(1'048'000, 'x'));
  EXPECT_EQ(Run(start).exit.error().sys_errno(), ENAMETOOLONG);
}

// ---- Files

TEST_F(ToolServerTest, ReadsARangeAndTellsTheSize) {
  PutFile("file", "0123456789");
  v1::OpStart start;
  start.mutable_fs_read()->set_path("file");
  start.mutable_fs_read()->set_offset(8);
  start.mutable_fs_read()->set_length(1);
  const Finished finished = Run(start);
  EXPECT_EQ(finished.content, "8");
  EXPECT_EQ(finished.exit.file_size(), 10u);
  start.mutable_fs_read()->set_offset(100);
  EXPECT_EQ(Run(start).content, "");
  start.mutable_fs_read()->set_path("absent");
  EXPECT_EQ(Run(start).exit.error().code(), v1::ERROR_NOT_FOUND);
}

TEST_F(ToolServerTest, ReplacesAFileOnlyWhenItsContentIsComplete) {
  PutFile("file", "old", 0640);
  Start("op", Write("file"));
  EXPECT_TRUE(Call(Chunk("op", "new ", false)).has_write_chunk());
  EXPECT_EQ(FileText("file"), "old");
  EXPECT_TRUE(Call(Chunk("op", "text", true)).has_write_chunk());
  EXPECT_FALSE(Finish("op").exit.has_error());
  EXPECT_EQ(FileText("file"), "new text");
  struct stat info;
  ASSERT_EQ(::stat((dir_ / "file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u) << "the mode is kept";
  EXPECT_THAT(Names(), testing::ElementsAre("file"));
}

TEST_F(ToolServerTest, LeavesNothingOfACancelledWrite) {
  PutFile("file", "old");
  Start("op", Write("file"));
  EXPECT_TRUE(Call(Chunk("op", "half of it", false)).has_write_chunk());
  WaitForWriter();
  Call(Cancel("op"));
  EXPECT_TRUE(Finish("op").exit.cancelled());
  EXPECT_EQ(FileText("file"), "old");
  EXPECT_THAT(Names(), testing::ElementsAre("file"));
}

TEST_F(ToolServerTest, LeavesNothingOfAWriteThatTookTooLong) {
  PutFile("file", "old");
  v1::OpStart start = Write("file");
  start.set_deadline_ms(1);
  Start("op", start);
  EXPECT_TRUE(Finish("op").exit.timed_out());
  EXPECT_EQ(FileText("file"), "old");
  EXPECT_THAT(Names(), testing::ElementsAre("file"));
}

TEST_F(ToolServerTest, LeavesNothingOfAWriteWhoseHostIsGone) {
  PutFile("file", "old");
  Start("op", Write("file"));
  EXPECT_TRUE(Call(Chunk("op", "half of it", false)).has_write_chunk());
  WaitForWriter();
  ASSERT_EQ(::shutdown(socket_.get(), SHUT_WR), 0);
  ExpectTheServerEnds();
  EXPECT_EQ(FileText("file"), "old");
  EXPECT_THAT(Names(), testing::ElementsAre("file"));
}

TEST_F(ToolServerTest, LeavesNothingOfAWriteThatWasKilled) {
  PutFile("file", "old");
  Start("op", Write("file"));
  EXPECT_TRUE(Call(Chunk("op", "half of it", false)).has_write_chunk());
  ASSERT_EQ(::kill(WaitForWriter(), SIGKILL), 0);
  EXPECT_TRUE(Finish("op").exit.has_error());
  EXPECT_EQ(FileText("file"), "old");
  EXPECT_THAT(Names(), testing::ElementsAre("file"));
}

TEST_F(ToolServerTest, RemovesWhatAWriteLeftThatWasKilledWhileItReplacedAFile) {
  PutFile(".cofferdam-new", "whole, but not in its place");
  Start("op", Write("other"));
  Call(Chunk("op", "new", true));
  EXPECT_FALSE(Finish("op").exit.has_error());
  EXPECT_THAT(Names(), testing::ElementsAre("other"));
}

TEST_F(ToolServerTest, LetsTwoWritesReplaceFilesAtTheSameTime) {
  PutFile("file", "old");
  PutFile(".cofferdam-new", "of a write that goes on");
  const auto other = sys::Open(dir_ / ".cofferdam-new", O_RDONLY);
  // By number: with our own folder in front, <sys/file.h> is another file.
  ASSERT_EQ(::syscall(SYS_flock, other->get(), 2), 0);
  Start("op", Write("file"));
  Call(Chunk("op", "new", true));
  EXPECT_FALSE(Finish("op").exit.has_error());
  EXPECT_EQ(FileText("file"), "new");
  EXPECT_THAT(Names(), testing::UnorderedElementsAre("file", ".cofferdam-new"));
}

TEST_F(ToolServerTest, AppendsMakesParentsAndSetsModes) {
  v1::OpStart start = Write("a/b/file");
  start.mutable_fs_write()->set_mode(0600);
  Start("refused", start);
  // A write that cannot begin still takes, and loses, its input.
  EXPECT_FALSE(Call(Chunk("refused", "x", true)).request_id().empty());
  EXPECT_EQ(Finish("refused").exit.error().code(), v1::ERROR_NOT_FOUND);
  start.mutable_fs_write()->set_create_parents(true);
  Start("new", start);
  Call(Chunk("new", "one", true));
  EXPECT_FALSE(Finish("new").exit.has_error());
  start.mutable_fs_write()->set_append(true);
  Start("more", start);
  Call(Chunk("more", "two", true));
  EXPECT_FALSE(Finish("more").exit.has_error());
  EXPECT_EQ(FileText("a/b/file"), "onetwo");
  struct stat info;
  ASSERT_EQ(::stat((dir_ / "a/b/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ToolServerTest, WritesThroughALinkAndKeepsIt) {
  PutFile("file", "old");
  ASSERT_EQ(::symlink("file", (dir_ / "link").c_str()), 0);
  Start("op", Write("link"));
  Call(Chunk("op", "new", true));
  EXPECT_FALSE(Finish("op").exit.has_error());
  EXPECT_EQ(FileText("file"), "new");
  struct stat info;
  ASSERT_EQ(::lstat((dir_ / "link").c_str(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
}

TEST_F(ToolServerTest, WritesNeitherADirectoryNorAPipe) {
  ASSERT_EQ(::mkdir((dir_ / "dir").c_str(), 0755), 0);
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  for (const char* name : {"dir", "pipe"}) {
    Start(name, Write(name));
    Send(Chunk(name, std::string(200'000, 'x'), true));
    EXPECT_TRUE(Finish(name).exit.has_error()) << name;
  }
}

TEST_F(ToolServerTest, ListsDescribesMovesAndRemoves) {
  v1::ControlRequest mkdir;
  mkdir.mutable_fs_mkdir()->set_path("d/e");
  EXPECT_EQ(Call(mkdir).error().code(), v1::ERROR_NOT_FOUND);
  mkdir.mutable_fs_mkdir()->set_parents(true);
  EXPECT_TRUE(Call(mkdir).has_fs_mkdir());
  PutFile("d/x", "12345", 0640);
  v1::ControlRequest stat;
  stat.mutable_fs_stat()->set_path("d/x");
  const v1::FsEntry entry = Call(stat).fs_stat().entry();
  EXPECT_EQ(entry.kind(), v1::FS_ENTRY_FILE);
  EXPECT_EQ(entry.size(), 5u);
  EXPECT_EQ(entry.mode(), 0640u);
  v1::ControlRequest move;
  move.mutable_fs_move()->set_from("d/x");
  move.mutable_fs_move()->set_to("d/e/y");
  EXPECT_TRUE(Call(move).has_fs_move());
  PutFile("d/x", "again");
  EXPECT_EQ(Call(move).error().sys_errno(), EEXIST);
  move.mutable_fs_move()->set_overwrite(true);
  EXPECT_TRUE(Call(move).has_fs_move());
  EXPECT_FALSE(Call(stat).fs_stat().exists());
  v1::ControlRequest list;
  list.mutable_fs_list()->set_recursive(true);
  std::string paths;
  const v1::ControlResponse listed = Call(list);
  for (const v1::FsEntry& one : listed.fs_list().entries()) paths += one.path() + " ";
  EXPECT_EQ(paths, "d d/e d/e/y ");
  v1::ControlRequest remove;
  remove.mutable_fs_remove()->set_path("d");
  EXPECT_TRUE(Call(remove).has_error());
  remove.mutable_fs_remove()->set_recursive(true);
  EXPECT_TRUE(Call(remove).has_fs_remove());
  EXPECT_THAT(Names(), testing::IsEmpty());
}

TEST_F(ToolServerTest, RefusesAListThatFillsNoFrame) {
  // Each entry takes its name twice, and a frame holds 1 MiB.
  for (int i = 0; i < 2200; ++i) PutFile(std::string(220, 'x') + std::to_string(i), "");
  v1::ControlRequest list;
  list.mutable_fs_list()->set_path("");
  const v1::ControlResponse response = Call(list);
  EXPECT_EQ(response.error().code(), v1::ERROR_PAYLOAD_TOO_LARGE);
  EXPECT_FALSE(response.has_fs_list());
}

TEST_F(ToolServerTest, FindsAndGreps) {
  PutFile("a.cc", "one\ntwo\n");
  PutFile("b.h", "two\n");
  v1::OpStart start;
  start.mutable_grep()->set_pattern("t.o");
  start.mutable_grep()->set_glob("*.cc");
  protocol::FrameDecoder records;
  ASSERT_TRUE(records.Feed(Run(start).content));
  v1::SearchRecord record;
  ASSERT_TRUE(record.ParseFromString(records.Next().value_or("")));
  EXPECT_EQ(record.path(), "a.cc");
  EXPECT_EQ(record.line_number(), 2u);
  EXPECT_EQ(records.Next(), std::nullopt);
  start.mutable_find()->set_glob("*.h");
  ASSERT_TRUE(records.Feed(Run(start).content));
  ASSERT_TRUE(record.ParseFromString(records.Next().value_or("")));
  EXPECT_EQ(record.path(), "b.h");
}

// ---- A host that is hostile or gone

TEST_F(ToolServerTest, EndsOnAFrameThatIsTooLarge) {
  SendRaw(std::string("\xff\xff\xff\xff", 4));
  ExpectTheServerEnds();
}

TEST_F(ToolServerTest, EndsOnAnEmptyFrame) {
  SendRaw(std::string(4, '\0'));
  ExpectTheServerEnds();
}

TEST_F(ToolServerTest, EndsOnBytesThatAreNoMessage) {
  SendRaw(protocol::EncodeFrame("\xff\xff\xff"));
  ExpectTheServerEnds();
}

TEST_F(ToolServerTest, EndsWithAllItStartedInTheMiddleOfAFrame) {
  Start("op", Shell("(setsid sh -c 'echo $$; exec sleep 1000' &); sleep 1000"));
  const sys::UniqueFd process = PidFd(FirstLine("op"));
  ASSERT_TRUE(process.valid());
  SendRaw(std::string("\0\0\1\0half", 8));
  socket_.Reset();
  EXPECT_TRUE(WIFEXITED(*sys::Reap(std::exchange(pid_, -1))));
  pollfd ended{process.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 0), 1) << "what it started is gone before it is";
}

TEST_F(ToolServerTest, ListensNoMoreToAHostThatDoesNotRead) {
  v1::HostFrame frame;
  frame.mutable_request()->set_request_id("r");
  frame.mutable_request()->mutable_ping()->set_nonce(1);
  const std::string one = protocol::EncodeFrame(frame.SerializeAsString());
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += one;
  constexpr std::size_t kFarTooMuch = 64 << 20;
  std::size_t sent = 0;
  for (;;) {
    // A server that is only slow makes this pass too; one that takes everything does not.
    pollfd room{socket_.get(), POLLOUT, 0};
    if (sent >= kFarTooMuch || ::poll(&room, 1, 500) == 0) break;
    const std::string_view rest = std::string_view(many).substr(sent % many.size());
    const ssize_t size = ::send(socket_.get(), rest.data(), rest.size(), MSG_DONTWAIT);
    if (size > 0) sent += static_cast<std::size_t>(size);
  }
  EXPECT_LT(sent, kFarTooMuch);
  for (std::size_t i = 0; i < sent / one.size(); ++i) ASSERT_TRUE(Receive()) << "all are answered";
}

}  // namespace
}  // namespace cofferdam::worker
