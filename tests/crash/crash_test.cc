// kill -9 of the host, its launcher, its worker, and host and launcher together, at random points
// of many runs. After each nothing is left, nothing acknowledged is lost, nothing has run twice,
// and the next run in the same session works.
//
// COFFERDAM_CRASH_RUNS is how many runs are killed in each test, COFFERDAM_CRASH_SEED makes the
// points the same again, as far as the machine's scheduling lets them.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <random>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "ground.h"
#include "host_process.h"
#include "projects/checkpoints.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::crash {
namespace {

using json::Json;
using testing::AnyOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience{60};

std::set<pid_t> Nobody() { return {}; }

enum class Victim { kHost, kLauncher, kWorker, kHostAndLauncher };

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// ---- The run that is killed, and the one after it

/// What notes.txt holds after the calls that write it, in order; nothing before the first.
const std::vector<std::string>& Notes() {
  static const std::vector<std::string> notes = {"one\n", "two\n",
                                                 std::string(100'000, 'x') + "\n"};
  return notes;
}

/// Every bash call leaves a line in `made` and starts a daemon that wants to stay; one has more
/// output than is shown, which is then kept in a file.
std::string Script() {
  const std::string daemon = "(setsid sh -c 'exec sleep 1000' </dev/null >/dev/null 2>&1 &)";
  return R"(
cases:
  - when: {contains: work}
    turns:
      - text: I begin.
        tool_calls:
          - {name: write, arguments: {path: notes.txt, content: "one\n"}}
      - text: I go on.
        tool_calls:
          - {name: bash, arguments: {command: "echo first >> made; )" +
         daemon + R"(; seq 1 3000"}}
          - {name: edit, arguments: {path: notes.txt, old_string: one, new_string: two}}
      - tool_calls:
          - {name: bash, arguments: {command: "echo second >> made; )" +
         daemon + R"(; cat notes.txt"}}
          - {name: write, arguments: {path: notes.txt, content: ")" +
         Notes()[2].substr(0, Notes()[2].size() - 1) + R"(\n"}}
      - text: Done.
  - turns:
      - tool_calls:
          - {name: bash, arguments: {command: "echo next >> made; )" +
         daemon + R"(; ls -a"}}
          - {name: write, arguments: {path: after.txt, content: "after\n"}}
      - text: Next.
)";
}

// ---- What stands on disk

/// The lines of a file that are whole.
std::vector<Json> WholeLines(const std::string& path) {
  const auto text = sys::ReadFile(path, 64 << 20);
  std::vector<Json> lines;
  if (!text) return lines;
  std::size_t begin = 0;
  for (std::size_t end; (end = text->find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(*json::Parse(std::string_view(*text).substr(begin, end - begin)));
  return lines;
}

struct ToolCall {
  std::string id;
  std::optional<std::string> result;
};

/// The calls of a transcript in order, each with the text of its result.
std::vector<ToolCall> CallsOf(const std::vector<std::string>& transcript) {
  std::vector<ToolCall> calls;
  for (const std::string& entry : transcript) {
    const Json message = json::Parse(entry)->at("message");
    for (const Json& block : message.at("content")) {
      if (block.at("type") == "tool_call") calls.push_back({block.at("id"), std::nullopt});
      if (block.at("type") != "tool_result") continue;
      const auto call = std::ranges::find_if(calls, [&](const ToolCall& one) {
        return block.at("tool_call_id").get<std::string>() == one.id && !one.result;
      });
      EXPECT_NE(call, calls.end()) << "a result without a call";
      if (call != calls.end()) call->result = block.at("content").at(0).at("text");
    }
  }
  return calls;
}

bool IsTemporary(const std::string& name) {
  return name.starts_with(".tmp-") || name.starts_with(".cofferdam-") ||
         name.starts_with(".new-") || name.starts_with(".deleted-");
}

// ---- Where a run is killed

/// After the nth event about tools, and then some time.
struct KillPoint {
  int events = 0;
  std::chrono::nanoseconds delay{0};
};

struct Undisturbed {
  std::chrono::nanoseconds length{0};
  std::chrono::nanoseconds sandbox{0};  // from the first call to the ready sandbox
  int events = 0;
};

bool IsAboutTools(const Json& event) { return event.at("event") != "text"; }

int ToolEvents(const HostProcess& host) {
  return static_cast<int>(std::ranges::count_if(host.said(), IsAboutTools));
}

/// Half of the points lie anywhere in the run, a quarter where the sandbox is made, and a quarter
/// close behind something that the host has said.
KillPoint Draw(std::mt19937_64& random, const Undisturbed& run) {
  const auto between = [&](std::chrono::nanoseconds most) {
    return std::chrono::nanoseconds(
        std::uniform_int_distribution<std::int64_t>(0, most.count())(random));
  };
  switch (std::uniform_int_distribution<int>(0, 3)(random)) {
    case 0:
      return {.events = 1, .delay = between(run.sandbox * 5 / 4)};
    case 1:
      return {.events = std::uniform_int_distribution<int>(1, run.events)(random),
              .delay = between(std::chrono::milliseconds(2))};
    default:
      return {.events = 0, .delay = between(run.length * 21 / 20)};
  }
}

/// How many kills came when, and what they left for a later start to remove.
struct Tally {
  int before = 0;
  int during = 0;
  int after = 0;
  int missed = 0;
  int groups = 0;
  int temporaries = 0;

  void Print(const std::string& name) const {
    std::cout << name << ": killed " << before << " times before the sandbox, " << during
              << " with it, " << after << " after it; " << missed
              << " times there was nothing to kill. Control groups stayed until the next start "
              << groups << " times, a temporary file " << temporaries << " times." << std::endl;
  }
};

class CrashTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ground_ = std::make_unique<Ground>(); }
  static void TearDownTestSuite() { ground_.reset(); }

  void SetUp() override {
    auto platform = Platform::Open({.state = state_});
    ASSERT_TRUE(platform) << platform.error().ToString();
    platform_.emplace(std::move(*platform));
    Settings settings{.provider = "scripted"};
    if (::geteuid() != 0) settings.allow_missing = {"cgroup"};
    alice_.emplace(*platform_->CreateWorkspace("alice", settings));
    std::ofstream(script_) << Script();
    seed_ = FromEnvironment("COFFERDAM_CRASH_SEED", std::random_device()());
    runs_ = static_cast<int>(FromEnvironment("COFFERDAM_CRASH_RUNS", 50));
  }

  /// The seed of one run, for whoever looks at a failure.
  std::string Trace(int run) const {
    return "run " + std::to_string(run) + ", COFFERDAM_CRASH_SEED=" + std::to_string(seed_);
  }
  std::mt19937_64 RandomFor(int run) const {
    std::seed_seq seed{seed_, static_cast<std::uint64_t>(run)};
    return std::mt19937_64(seed);
  }

  std::unique_ptr<HostProcess> StartRun(const std::string& session, const std::string& message) {
    return std::make_unique<HostProcess>(
        *ground_,
        std::vector<std::string>{COFFERDAM_PROGRAM, "run", "--json", "--state", state_, "-w",
                                 "alice", "-s", session, "-m", message, "--script", script_});
  }
  std::unique_ptr<HostProcess> StartHost() {
    return std::make_unique<HostProcess>(*ground_,
                                         std::vector<std::string>{CRASH_HOST, state_, script_});
  }

  static bool HasResult(const HostProcess& host) {
    return !host.said().empty() && host.said().back().at("event") == "result";
  }
  static bool WaitForResult(HostProcess& host) {
    return host.ReadUntil([&] { return HasResult(host); }, SteadyClock::now() + kPatience);
  }

  /// How long a run takes that nobody kills, from the given start.
  Undisturbed Measure(HostProcess& host, SteadyClock::time_point start) const {
    const auto until = SteadyClock::now() + kPatience;
    EXPECT_TRUE(host.ReadUntil([&] { return ToolEvents(host) >= 1; }, until));
    const auto called = SteadyClock::now();
    EXPECT_TRUE(host.ReadUntil([&] { return ToolEvents(host) >= 2; }, until));
    const auto ready = SteadyClock::now();
    EXPECT_TRUE(host.Worker()) << "what is looked for is seen while it is there";
    // Where there are none, none can be left.
    if (::geteuid() == 0) {
      EXPECT_THAT(ground_->Groups(), testing::Not(testing::IsEmpty()));
    }
    EXPECT_TRUE(WaitForResult(host));
    return {.length = SteadyClock::now() - start,
            .sandbox = ready - called,
            .events = ToolEvents(host)};
  }

  /// Waits for the point and kills; nothing when there was nothing to kill any more.
  void KillAt(HostProcess& host, Victim victim, const KillPoint& point,
              SteadyClock::time_point start, Tally& tally);
  bool Kill(const HostProcess& host, Victim victim);

  void EmptyWorkFolder() const {
    for (const auto& entry : fs::directory_iterator(alice_->work_folder()))
      fs::remove_all(entry.path());
  }
  std::vector<std::string> Temporaries() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(state_))
      if (IsTemporary(entry.path().filename())) found.push_back(entry.path());
    return found;
  }
  std::vector<std::string> Transcript(const std::string& session) const {
    // There is none when the host was killed early.
    return alice_->ReadSession(session).value_or(std::vector<std::string>());
  }

  void ExpectNothingLost(const HostProcess& host, const std::string& run,
                         const std::vector<std::string>& transcript) const;
  void ExpectFilesFit(const HostProcess& host) const;
  void ExpectNextFits(const std::vector<std::string>& before,
                      const std::vector<std::string>& after) const;
  void ExpectRunWorked(const HostProcess& host) const;
  void KillHosts(Victim victim, const std::string& name);
  void KillBelowLiveHost(Victim victim, const std::string& name);
  void KillOneBelow(HostProcess& host, Victim victim, const Undisturbed& measured, int run,
                    Tally& tally);

  static inline std::unique_ptr<Ground> ground_;
  sys::TempDir temp_;
  const std::string state_ = temp_ / "state";
  const std::string script_ = temp_ / "script.json";
  std::optional<Platform> platform_;
  std::optional<Workspace> alice_;
  std::uint64_t seed_ = 0;
  int runs_ = 0;
};

using Find = std::function<std::optional<pid_t>()>;

bool SendKill(const Find& find) {
  const auto pid = find();
  if (!pid) return false;
  const sys::UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  // Looked for again, so that it is not somebody else who has the pid by now.
  return process.valid() && find() == pid && sys::SendSignal(process.get(), SIGKILL).has_value();
}

bool CrashTest::Kill(const HostProcess& host, Victim victim) {
  const Find launcher = [&host] { return host.Launcher(); };
  switch (victim) {
    case Victim::kHost:
      return ::kill(host.pid(), SIGKILL) == 0;
    case Victim::kLauncher:
      return SendKill(launcher);
    case Victim::kWorker:
      return SendKill([&host] { return host.Worker(); });
    case Victim::kHostAndLauncher:
      SendKill(launcher);
      return ::kill(host.pid(), SIGKILL) == 0;
  }
  return false;
}

void CrashTest::KillAt(HostProcess& host, Victim victim, const KillPoint& point,
                       SteadyClock::time_point start, Tally& tally) {
  const auto end = SteadyClock::now() + kPatience;
  bool ready = host.ReadUntil([&] { return ToolEvents(host) >= point.events; }, end);
  const auto from = point.events == 0 ? start : SteadyClock::now();
  host.ReadUntil([] { return false; }, from + point.delay);
  const bool had_sandbox = std::ranges::any_of(
      host.said(), [](const Json& event) { return event.at("event") == "sandbox_ready"; });
  ground_->RememberNamespaces();
  const bool has_sandbox = host.Worker().has_value();
  bool killed = Kill(host, victim);
  // Below a host that lives on there may be nothing to kill yet.
  while (ready && !killed && !host.has_ended() && !HasResult(host)) {
    host.ReadUntil([&] { return HasResult(host); },
                   SteadyClock::now() + std::chrono::microseconds(100));
    killed = Kill(host, victim);
    ready = SteadyClock::now() < end;
  }
  if (!killed)
    ++tally.missed;
  else if (has_sandbox)
    ++tally.during;
  else
    ++(had_sandbox ? tally.after : tally.before);
}

/// Everything that the host said to have ended stands in the record and in the transcript, and
/// every checkpoint that it spoke of is kept.
void CrashTest::ExpectNothingLost(const HostProcess& host, const std::string& run,
                                  const std::vector<std::string>& transcript) const {
  const std::vector<ToolCall> calls = CallsOf(transcript);
  std::vector<std::string> recorded;
  for (const Json& event : WholeLines(state_ + "/workspaces/alice/runs/" + run + "/events.jsonl"))
    if (event.value("type", "") == "tool.ended") recorded.push_back(event.at("data").at("id"));
  for (const Json& event : host.said()) {
    if (event.at("event") != "tool_ended") continue;
    const std::string id = event.at("id");
    EXPECT_THAT(recorded, testing::Contains(id));
    const auto call = std::ranges::find(calls, id, &ToolCall::id);
    ASSERT_NE(call, calls.end()) << id;
    EXPECT_EQ(call->result, event.at("content").get<std::string>());
  }
  auto checkpoints = projects::Checkpoints::Open(state_ + "/workspaces/alice", SystemClock());
  ASSERT_TRUE(checkpoints) << checkpoints.error().ToString();
  const auto kept = checkpoints->List();
  ASSERT_TRUE(kept) << kept.error().ToString();
  for (const Json& event : host.said())
    if (event.at("event") == "checkpoint") {
      EXPECT_TRUE(std::ranges::count(*kept, event.at("checkpoint").get<std::int64_t>(),
                                     &projects::Checkpoint::id));
    }
}

/// Each call has taken effect at most once, and those that the host said to have ended well have.
void CrashTest::ExpectFilesFit(const HostProcess& host) const {
  const std::string made = sys::ReadFile(alice_->work_folder() + "/made").value_or("");
  const auto notes = sys::ReadFile(alice_->work_folder() + "/notes.txt");
  EXPECT_THAT(made, AnyOf("", "first\n", "first\nsecond\n"));
  // One more than the index in Notes.
  std::ptrdiff_t written = 0;
  if (notes) written = std::ranges::find(Notes(), *notes) - Notes().begin() + 1;
  EXPECT_LE(written, std::ssize(Notes())) << "a file that was written in part";
  std::ptrdiff_t commands = 0;
  std::ptrdiff_t changes = 0;
  for (const Json& event : host.said())
    if (event.at("event") == "tool_ended" && !event.at("is_error"))
      ++(event.at("tool") == "bash" ? commands : changes);
  EXPECT_GE(std::ranges::count(made, '\n'), commands);
  EXPECT_GE(written, changes);
}

/// The next run went on from what stood there: every call without a result was told as unknown.
void CrashTest::ExpectNextFits(const std::vector<std::string>& before,
                               const std::vector<std::string>& after) const {
  ASSERT_GE(after.size(), before.size());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
  const std::vector<ToolCall> then = CallsOf(before);
  const std::vector<ToolCall> now = CallsOf(after);
  ASSERT_EQ(now.size(), then.size() + 2);
  for (std::size_t i = 0; i < then.size(); ++i)
    if (!then[i].result) {
      EXPECT_THAT(now[i].result.value_or(""), HasSubstr("outcome is unknown"));
    }
  EXPECT_EQ(sys::ReadFile(alice_->work_folder() + "/after.txt").value_or(""), "after\n");
  const std::string made = sys::ReadFile(alice_->work_folder() + "/made").value_or("");
  EXPECT_THAT(made, AnyOf("next\n", "first\nnext\n", "first\nsecond\nnext\n"));
}

void CrashTest::ExpectRunWorked(const HostProcess& host) const {
  ASSERT_FALSE(host.said().empty());
  const Json& result = host.said().back();
  EXPECT_EQ(result.at("event"), "result");
  EXPECT_EQ(result.value("outcome", ""), "completed") << json::Dump(result);
  EXPECT_EQ(result.value("text", ""), "Next.");
}

void CrashTest::KillHosts(Victim victim, const std::string& name) {
  auto start = SteadyClock::now();
  auto calm = StartRun("calm", "work");
  const Undisturbed measured = Measure(*calm, start);
  EXPECT_EQ(calm->Reap(), 0);
  Tally tally;
  for (int run = 0; run < runs_ && !HasFailure(); ++run) {
    SCOPED_TRACE(Trace(run));
    std::mt19937_64 random = RandomFor(run);
    const std::string session = "s" + std::to_string(run);
    EmptyWorkFolder();
    const std::vector<std::string> runs_before = *alice_->Runs();
    const Tally before = tally;
    start = SteadyClock::now();
    auto host = StartRun(session, "work");
    KillAt(*host, victim, Draw(random, measured), start, tally);
    host->ReadUntil([] { return false; }, SteadyClock::now() + kPatience);
    ASSERT_TRUE(host->has_ended());
    host->Reap();

    // The launcher removes the groups, and thaws what was frozen for a checkpoint; without one the
    // next start does.
    const bool groups_may_stay = victim == Victim::kHostAndLauncher || tally.before > before.before;
    const auto frozen = [] { return ground_->Frozen(); };
    const std::function<std::set<pid_t>()> may_stay =
        victim == Victim::kHostAndLauncher ? frozen : std::function<std::set<pid_t>()>(Nobody);
    ASSERT_EQ(ground_->WaitUntilNothingIsLeft(may_stay, groups_may_stay), "");
    if (!ground_->Groups().empty()) ++tally.groups;
    if (!Temporaries().empty()) ++tally.temporaries;
    const std::vector<std::string> transcript = Transcript(session);
    const std::vector<std::string> runs_now = *alice_->Runs();
    for (const std::string& id : runs_now) {
      if (std::ranges::find(runs_before, id) != runs_before.end()) continue;
      const auto check = alice_->VerifyRun(id);
      EXPECT_TRUE(check) << check.error().ToString();
      ExpectNothingLost(*host, id, transcript);
    }
    ExpectFilesFit(*host);

    auto next = StartRun(session, "and now?");
    ASSERT_TRUE(WaitForResult(*next));
    ExpectRunWorked(*next);
    EXPECT_EQ(next->Reap(), 0);
    ExpectNextFits(transcript, Transcript(session));
    ASSERT_EQ(ground_->WaitUntilNothingIsLeft(Nobody, false), "");
    EXPECT_THAT(Temporaries(), testing::IsEmpty());
  }
  tally.Print(name);
}

/// Kills once below a host that lives on, and lets the same host make the next run.
void CrashTest::KillOneBelow(HostProcess& host, Victim victim, const Undisturbed& measured, int run,
                             Tally& tally) {
  std::mt19937_64 random = RandomFor(run);
  const std::string session = "s" + std::to_string(run);
  EmptyWorkFolder();
  const auto start = SteadyClock::now();
  host.Send(session + " work");
  KillAt(host, victim, Draw(random, measured), start, tally);
  ASSERT_TRUE(WaitForResult(host)) << "the run hangs";
  const Json result = host.said().back();
  if (result.at("outcome") != "completed") {
    ASSERT_TRUE(result.contains("error")) << json::Dump(result);
    EXPECT_EQ(result.at("error").at("code"), "sandbox_lost") << json::Dump(result);
  }
  const std::vector<std::string> transcript = Transcript(session);
  const std::string id = alice_->Runs()->back();
  const auto check = alice_->VerifyRun(id);
  ASSERT_TRUE(check) << check.error().ToString();
  EXPECT_TRUE(check->complete);
  ExpectNothingLost(host, id, transcript);
  ExpectFilesFit(host);

  if (!Temporaries().empty()) ++tally.temporaries;
  host.Send(session + " and now?");
  ASSERT_TRUE(WaitForResult(host)) << "the next run hangs";
  ExpectRunWorked(host);
  ExpectNextFits(transcript, Transcript(session));
  ASSERT_EQ(ground_->WaitUntilNothingIsLeft([&host] { return host.WithoutSandboxes(); }, true), "");
  EXPECT_THAT(Temporaries(), testing::IsEmpty());
}

void CrashTest::KillBelowLiveHost(Victim victim, const std::string& name) {
  constexpr int kRunsOfAHost = 200;
  Tally tally;
  std::unique_ptr<HostProcess> host;
  Undisturbed measured;
  std::size_t descriptors = 0;
  for (int run = 0; run < runs_ && !HasFailure(); ++run) {
    SCOPED_TRACE(Trace(run));
    if (host == nullptr) {
      host = StartHost();
      host->Send("calm-" + std::to_string(run) + " work");
      measured = Measure(*host, SteadyClock::now());
    }
    KillOneBelow(*host, victim, measured, run, tally);
    if (run % kRunsOfAHost == 4) descriptors = host->Descriptors();
    if ((run + 1) % kRunsOfAHost != 0 && run + 1 != runs_) continue;
    // What is ready for sandboxes to come may be more than it was, but not with each loss.
    if (run % kRunsOfAHost > 4) {
      EXPECT_LT(host->Descriptors(), descriptors + 128);
    }
    host->CloseInput();
    EXPECT_EQ(host->Reap(), 0);
    ASSERT_EQ(ground_->WaitUntilNothingIsLeft(Nobody, false), "");
    host.reset();
  }
  tally.Print(name);
}

TEST_F(CrashTest, AKilledHostLeavesNothingAndTheNextRunWorks) { KillHosts(Victim::kHost, "host"); }

TEST_F(CrashTest, AKilledHostAndLauncherLeaveWhatTheNextStartRemoves) {
  KillHosts(Victim::kHostAndLauncher, "host and launcher");
}

TEST_F(CrashTest, AKilledLauncherEndsItsRunsAndTheNextRunWorks) {
  KillBelowLiveHost(Victim::kLauncher, "launcher");
}

TEST_F(CrashTest, AKilledWorkerEndsItsRunAndTheNextRunWorks) {
  KillBelowLiveHost(Victim::kWorker, "worker");
}

}  // namespace
}  // namespace cofferdam::crash
