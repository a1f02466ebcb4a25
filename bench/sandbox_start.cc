// How long until a sandbox is ready, and until the first instruction of a program in it, beside
// other sandboxes and beside no sandbox running the same program. The clock starts at the public
// call; `ready` is the first ping answered after verification.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "base/check.h"
#include "forked.h"
#include "measure.h"
#include "peers.h"
#include "report.h"
#include "sandbox/host_limits.h"
#include "sandbox/local_sandbox.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

using sandbox::Launcher;
using sandbox::LocalSandbox;
using sandbox::StartTimes;
using sandbox::Step;

constexpr std::pair<const char*, std::int64_t StartTimes::*> kPhases[] = {
    {"phase_prepare", &StartTimes::prepare}, {"phase_launch", &StartTimes::launch},
    {"phase_confine", &StartTimes::confine}, {"phase_verify", &StartTimes::verify},
    {"phase_ping", &StartTimes::ping},
};

// What the start code does, as parts of phase_confine; one that is not taken has no row.
constexpr std::pair<const char*, Step> kSteps[] = {
    {"step_request", Step::kRequest},
    {"step_cgroup_join", Step::kCgroupJoin},
    {"step_cgroup_namespace", Step::kCgroupNamespace},
    {"step_network", Step::kNetwork},
    {"step_ipc_namespace", Step::kIpcNamespace},
    {"step_uts_namespace", Step::kUtsNamespace},
    {"step_mount_source", Step::kMountSource},
    {"step_mount_attach", Step::kMountAttach},
    {"step_id_maps", Step::kIdMaps},
    {"step_mount_proc", Step::kMountProc},
    {"step_mount_tmp", Step::kMountTmp},
    {"step_mount_pts", Step::kMountPts},
    {"step_identity", Step::kIdentity},
    {"step_keyring", Step::kKeyring},
    {"step_rlimits", Step::kRlimits},
    {"step_capabilities", Step::kCapabilities},
    {"step_no_new_privs", Step::kNoNewPrivs},
    {"step_landlock", Step::kLandlock},
    {"step_seccomp", Step::kSeccomp},
    {"step_undumpable", Step::kUndumpable},
    {"step_parent_death", Step::kParentDeath},
};

// Rows by name, in the order in which they were first asked for.
class Rows {
 public:
  void Add(const std::string& name, double micros) {
    const auto [at, added] = index_.try_emplace(name, rows_.size());
    if (added) rows_.push_back({name, "us", {}});
    rows_[at->second].samples.push_back(micros);
  }
  void MoveTo(Report& report) {
    for (Row& row : rows_) report.Add(std::move(row));
  }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<Row> rows_;
};

std::unique_ptr<LocalSandbox> Create(Launcher& launcher) {
  static std::atomic<int> number;
  sandbox::SandboxSpec spec;
  spec.id = "bench-" + std::to_string(number++);
  spec.mounts = {PayloadMount()};
  return OrExit(LocalSandbox::Create(launcher, spec, Deadline::Never()));
}

double StampIn(LocalSandbox& sandbox) {
  std::string output;
  ExecPayload(sandbox, PayloadInside("stamp"),
              [&](sandbox::OutputStream, std::string_view bytes) { output += bytes; });
  const auto stamp = ParseStamp(output);
  CHECK(stamp.has_value());
  return *stamp;
}

double Ready(Launcher& launcher) {
  const double start = Now();
  const auto sandbox = Create(launcher);
  return Now() - start;
}

// ---- One after the other, beside the peers

// Each step's own time: from the end of the one before it.
void AddSteps(const StartTimes& times, Rows& rows) {
  std::vector<std::pair<std::uint32_t, const char*>> done;
  for (const auto& [name, step] : kSteps)
    if (const auto nanos = times.step_done_nanos[static_cast<std::size_t>(step)]; nanos != 0)
      done.emplace_back(nanos, name);
  std::ranges::sort(done);
  std::uint32_t before = 0;
  for (const auto& [nanos, name] : done)
    rows.Add(name, static_cast<double>(nanos - std::exchange(before, nanos)) / 1e3);
}

void MeasureOwn(Launcher& launcher, Rows& rows) {
  launcher.WaitUntilFilled();
  const double start = Now();
  const auto sandbox = Create(launcher);
  const double ready = Now();
  const double stamp = StampIn(*sandbox);
  const double again = Now();
  const double second_stamp = StampIn(*sandbox);
  const double before_end = Now();
  sandbox->Kill();
  rows.Add("ready", ready - start);
  rows.Add("first_instruction", stamp - start);
  rows.Add("exec_first_instruction", second_stamp - again);
  rows.Add("ended", Now() - before_end);
  for (const auto& [name, member] : kPhases)
    rows.Add(name, static_cast<double>(sandbox->start_times().*member));
  AddSteps(sandbox->start_times(), rows);
}

// From a launcher that has nothing ready: namespaces and control groups are made when asked for.
void MeasureCold(Launcher& launcher, Rows& rows) {
  const double start = Now();
  const auto sandbox = Create(launcher);
  rows.Add("cold_ready", Now() - start);
  rows.Add("cold_first_instruction", StampIn(*sandbox) - start);
}

// From the call that makes a sandbox to the first byte of what a program in it says.
double FirstByte(Launcher& launcher, const std::string& program) {
  double first = 0;
  launcher.WaitUntilFilled();
  const double start = Now();
  const auto sandbox = Create(launcher);
  ExecPayload(*sandbox, program, [&](sandbox::OutputStream, std::string_view) {
    if (first == 0) first = Now();
  });
  CHECK(first != 0);
  return first - start;
}

// Taken in turn, so that all see the same machine.
void MeasureInTurn(Launcher& launcher, std::vector<Peer>& peers, int count, Rows& rows) {
  const auto cold_launcher = OrExit(Launcher::Start(0));
  constexpr int kWarmUp = 5;
  for (int i = -kWarmUp; i < count; ++i) {
    Rows warm_up;
    Rows& to = i < 0 ? warm_up : rows;
    MeasureOwn(launcher, to);
    MeasureCold(*cold_launcher, to);
    to.Add("api_echo", FirstByte(launcher, PayloadInside("echo")));
    to.Add("api_bin_echo", FirstByte(launcher, "/bin/echo"));
    std::erase_if(peers, [&](const Peer& peer) {
      const auto micros = peer.measure();
      if (micros) to.Add(peer.name + "_first_instruction", *micros);
      return !micros;
    });
  }
}

// ---- Many at once

struct Burst {
  std::vector<double> ready;
  std::vector<std::unique_ptr<LocalSandbox>> live;
  double wall = 0;
};

// `size` threads ask at the same moment; what they get lives on.
Burst AskAtOnce(Launcher& launcher, std::size_t size) {
  Burst burst;
  burst.ready.resize(size);
  burst.live.resize(size);
  std::latch begin(static_cast<std::ptrdiff_t>(size) + 1);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < size; ++i)
    threads.emplace_back([&, i] {
      begin.arrive_and_wait();
      const double start = Now();
      burst.live[i] = Create(launcher);
      burst.ready[i] = Now() - start;
    });
  begin.arrive_and_wait();
  const double start = Now();
  threads.clear();
  burst.wall = Now() - start;
  return burst;
}

void MeasureBursts(Launcher& launcher, int count, Rows& rows) {
  constexpr std::size_t kBurst = 100;
  for (int round = 0; round < std::max(1, count / 20); ++round) {
    launcher.WaitUntilFilled();
    const Burst burst = AskAtOnce(launcher, kBurst);
    for (const double ready : burst.ready) rows.Add("burst_ready", ready);
    rows.Add("burst_wall", burst.wall);
  }
}

// ---- Hosts of two sizes

struct Sample {
  double micros;
};

// A host process with so much touched memory, which starts a sandbox each time it is asked.
using SizedHost = Answerer<Sample, Sample>;
SizedHost HostOf(std::size_t mebibytes) {
  return SizedHost([mebibytes]() -> SizedHost::Serve {
    const std::size_t size = mebibytes << 20;
    void* const memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    // Small pages: what a fork has to copy is their tables.
    CHECK(::madvise(memory, size, MADV_NOHUGEPAGE) == 0);
    for (std::size_t at = 0; at < size; at += 4096) static_cast<char*>(memory)[at] = 1;
    const std::shared_ptr<Launcher> launcher = OrExit(Launcher::Start());
    return [launcher](const Sample&) {
      launcher->WaitUntilFilled();
      return Sample{Ready(*launcher)};
    };
  });
}

void MeasureHosts(int count, Rows& rows) {
  constexpr std::uint64_t kNeeded = 3u << 20;
  if (FieldOf("/proc/meminfo", "MemAvailable") < kNeeded) {
    std::fprintf(stderr, "there are not 3 GiB to spare: no row of a host with 2 GiB\n");
    return;
  }
  const std::pair<const char*, SizedHost> hosts[] = {{"ready_20mb_host", HostOf(20)},
                                                     {"ready_2gb_host", HostOf(2048)}};
  for (int i = -1; i < count; ++i)
    for (const auto& [name, host] : hosts) {
      Sample answer{};
      if (!host.Ask({}) || !host.Take(answer)) std::exit(1);  // it has said why
      if (i >= 0) rows.Add(name, answer.micros);
    }
}

// ---- What a launcher keeps

struct LauncherSize {
  double rss_kib;
  double fds;
};

LauncherSize SizeOf(const std::string& proc) {
  const auto directory = sys::Open(proc + "/fd", O_RDONLY | O_DIRECTORY);
  CHECK(directory.has_value());
  return {static_cast<double>(FieldOf(proc + "/status", "VmRSS")),
          static_cast<double>(OrExit(sys::ListDirectory(directory->get())).size())};
}

// Once it has nothing left to do: its pools are full again.
LauncherSize SettledSizeOf(const Launcher& launcher) {
  const std::string proc = "/proc/" + std::to_string(OrExit(launcher.Pid()));
  constexpr int kUnchanged = 20;
  constexpr int kMost = 400;
  LauncherSize size = SizeOf(proc);
  for (int same = 0, polls = 0; same < kUnchanged && polls < kMost; ++polls) {
    ::usleep(5000);
    const LauncherSize next = SizeOf(proc);
    same = next.fds == size.fds && next.rss_kib == size.rss_kib ? same + 1 : 0;
    size = next;
  }
  return size;
}

void MeasureLauncher(int count, Report& report) {
  constexpr int kFirst = 10;
  const int many = std::max(kFirst + 1, 5 * count);
  const auto launcher = OrExit(Launcher::Start());
  for (int i = 0; i < kFirst; ++i) Ready(*launcher);
  const LauncherSize first = SettledSizeOf(*launcher);
  for (int i = kFirst; i < many; ++i) Ready(*launcher);
  const LauncherSize last = SettledSizeOf(*launcher);
  report.AddValue("launcher_n", "runs", many);
  report.AddValue("launcher_rss_kib_after_10", "KiB", first.rss_kib);
  report.AddValue("launcher_rss_kib_after_n", "KiB", last.rss_kib);
  report.AddValue("launcher_fds_after_10", "fds", first.fds);
  report.AddValue("launcher_fds_after_n", "fds", last.fds);
  report.AddRatio("launcher_rss_after_n_vs_10", last.rss_kib / first.rss_kib);
  report.AddRatio("launcher_fds_after_n_vs_10", last.fds / first.fds);
}

void AddRatios(Report& report) {
  constexpr double kMicrosPerMilli = 1000;
  report.AddRatio("ready_ms", report.MedianOf("ready") / kMicrosPerMilli);
  report.AddRatio("first_instruction_ms", report.MedianOf("first_instruction") / kMicrosPerMilli);
  report.AddRatio("cold_first_instruction_ms",
                  report.MedianOf("cold_first_instruction") / kMicrosPerMilli);
  report.AddRatio("api_echo_ms", report.MedianOf("api_echo") / kMicrosPerMilli);
  report.AddRatio("api_bin_echo_ms", report.MedianOf("api_bin_echo") / kMicrosPerMilli);
  report.AddRatio("p99_vs_p50",
                  report.QuantileOf("burst_ready", 0.99) / report.QuantileOf("burst_ready", 0.5));
  report.AddRatio("ready_p99_vs_p50",
                  report.QuantileOf("ready", 0.99) / report.QuantileOf("ready", 0.5));
  report.AddRatioOfMedians("ready_vs_bwrap", "ready", "bwrap_first_instruction");
  report.AddRatioOfMedians("warm_vs_bwrap", "first_instruction", "bwrap_first_instruction");
  report.AddRatioOfMedians("cold_vs_bwrap", "cold_first_instruction", "bwrap_first_instruction");
  report.AddRatioOfMedians("ready_2gb_vs_20mb_host", "ready_2gb_host", "ready_20mb_host");
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  OrExit(sandbox::RaiseDescriptorLimit());
  Rows rows;
  // First what forks, while there is one thread.
  const ScratchDirectory directory;
  MeasureHosts(options.count(), rows);
  std::vector<Peer> peers = AllPeers(directory.path());
  {
    const auto launcher = OrExit(Launcher::Start());
    MeasureInTurn(*launcher, peers, options.count(), rows);
    MeasureBursts(*launcher, options.count(), rows);
  }
  Report report("sandbox_start");
  rows.MoveTo(report);
  MeasureLauncher(options.count(), report);
  AddRatios(report);
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
