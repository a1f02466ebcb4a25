// How many sandboxes can live at once, how fast they are made, what each costs, and what is left of
// them: live, verified, idle, each in a workspace of its own, with limits in force. They are spread
// over several host processes, because a process may have only so many descriptors.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "census.h"
#include "forked.h"
#include "measure.h"
#include "report.h"
#include "sandbox/host_limits.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/testing/test_control.h"

namespace cofferdam::bench {
namespace {

using sandbox::Launcher;
using sandbox::LocalSandbox;

constexpr int kPerHost = 2500;
constexpr int kThreads = 2;
constexpr double kMicrosPerSecond = 1e6;
constexpr double kKibPerMib = 1024;

// ---- Workspaces

// The ids of a workspace: far from what anybody has.
std::uint32_t IdOf(int workspace) { return 1'200'000'000 + static_cast<std::uint32_t>(workspace); }

template <typename Spec>
constexpr bool kHasIdentity = requires(Spec spec) { spec.identity; };

std::string WorkspacePath(const std::string& directory, int workspace) {
  return directory + "/" + std::to_string(workspace);
}

// Each has files of its own, which belong to ids of its own.
void MakeWorkspaces(const std::string& directory, int count) {
  const sandbox::HostIdentity shared = sandbox::ToolIdentity();
  for (int i = 0; i < count; ++i) {
    const std::string path = WorkspacePath(directory, i);
    const std::uint32_t uid = kHasIdentity<sandbox::SandboxSpec> ? IdOf(i) : shared.uid;
    const std::uint32_t gid = kHasIdentity<sandbox::SandboxSpec> ? IdOf(i) : shared.gid;
    CHECK(::mkdir(path.c_str(), 0711) == 0);
    for (const char* name : {"/work", "/home"}) {
      CHECK(::mkdir((path + name).c_str(), 0700) == 0);
      CHECK(::chown((path + name).c_str(), uid, gid) == 0);
    }
  }
}

template <typename Spec>
void TakeIdentity(Spec& spec, int workspace) {
  if constexpr (kHasIdentity<Spec>)
    spec.identity = sandbox::HostIdentity{IdOf(workspace), IdOf(workspace)};
}

sandbox::SandboxSpec SpecFor(const std::string& directory, int workspace, const std::string& id,
                             bool with_cgroup) {
  const std::string path = WorkspacePath(directory, workspace);
  sandbox::SandboxSpec spec;
  spec.id = id;
  spec.mounts = {
      {path + "/work", "/workspace", true}, {path + "/home", "/home/agent", true}, PayloadMount()};
  spec.limits.cpu_millis_per_second = 1000;
  TakeIdentity(spec, workspace);
  if (with_cgroup) return spec;
  return sandbox::TestControl::WithoutForTest(std::move(spec), sandbox::Layer::kCgroup);
}

// ---- A host process and its share

enum class Task { kStart, kMake, kExec, kKill };

struct Order {
  Task task;
};

// What came of an order. Errors are said on standard error, once for each order.
struct Done {
  int done;
  int failed;
  float micros[kPerHost];  // of each that was done
};

struct Share {
  std::string directory;
  int first;
  int count;
  bool with_cgroup;
};

class Host {
 public:
  explicit Host(Share share) : share_(std::move(share)) { OrExit(sandbox::RaiseDescriptorLimit()); }

  Done Do(const Order& order) {
    switch (order.task) {
      case Task::kStart:
        launcher_ = OrExit(Launcher::Start());
        sandboxes_.resize(static_cast<std::size_t>(share_.count));
        return {};
      case Task::kMake: {
        const Done done = ForEach([this](int i) { return Make(i); });
        // What was made ahead for these is made anew: it counts.
        launcher_->WaitUntilFilled();
        return done;
      }
      case Task::kExec:
        return ForEach([this](int i) { return Exec(i); });
      case Task::kKill: {
        const Done done = ForEach([this](int i) { return Kill(i); });
        sandboxes_.clear();
        return done;
      }
    }
    return {};
  }

 private:
  Status Make(int i) {
    const int number = share_.first + i;
    ASSIGN_OR_RETURN(
        sandboxes_[static_cast<std::size_t>(i)],
        LocalSandbox::Create(*launcher_,
                             SpecFor(share_.directory, number, "density-" + std::to_string(number),
                                     share_.with_cgroup),
                             Deadline::Never()));
    return {};
  }

  Status Exec(int i) {
    LocalSandbox* const sandbox = sandboxes_[static_cast<std::size_t>(i)].get();
    if (sandbox == nullptr) return Err(ErrorCode::kSandboxLost, "it was never made");
    ASSIGN_OR_RETURN(const sandbox::ExecResult result,
                     sandbox->Exec({.argv = {PayloadInside("true")}},
                                   [](sandbox::OutputStream, std::string_view) {}, {}));
    if (result.exit_code != 0) return Err(ErrorCode::kInternal, "the command failed");
    return {};
  }

  Status Kill(int i) {
    sandboxes_[static_cast<std::size_t>(i)].reset();
    return {};
  }

  // From a few threads, as a host of many runs has them.
  template <typename Act>
  Done ForEach(const Act& act) {
    Done total{};
    std::mutex mutex;  // guards total
    std::atomic<int> next = 0;
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&] {
        for (int i = next++; i < share_.count; i = next++) {
          const double start = Now();
          const Status status = act(i);
          const double micros = Now() - start;
          const std::lock_guard lock(mutex);
          if (status)
            total.micros[total.done++] = static_cast<float>(micros);
          else if (total.failed++ == 0)
            std::fprintf(stderr, "%s\n", status.error().ToString().c_str());
        }
      });
    threads.clear();
    return total;
  }

  Share share_;
  std::unique_ptr<Launcher> launcher_;
  std::vector<std::unique_ptr<LocalSandbox>> sandboxes_;
};

using HostProcess = Answerer<Order, Done>;

struct Outcome {
  int failed = 0;
  double seconds = 0;
  std::vector<double> micros;
};

class Hosts {
 public:
  Hosts(const std::string& directory, int count, bool with_cgroup) {
    for (int first = 0; first < count; first += kPerHost) {
      const Share share{directory, first, std::min(kPerHost, count - first), with_cgroup};
      processes_.push_back(std::make_unique<HostProcess>([share]() -> HostProcess::Serve {
        const auto host = std::make_shared<Host>(share);
        return [host](const Order& order) { return host->Do(order); };
      }));
      shares_.push_back(share.count);
    }
  }

  // All at the same time. A host that has ended counts all of its share as failed.
  Outcome Do(Task task) const {
    Outcome outcome;
    const double start = Now();
    for (const auto& process : processes_) static_cast<void>(process->Ask({task}));
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      const auto done = std::make_unique<Done>();
      if (!processes_[i]->Take(*done)) done->failed = shares_[i];
      outcome.failed += done->failed;
      outcome.micros.insert(outcome.micros.end(), done->micros, done->micros + done->done);
    }
    outcome.seconds = (Now() - start) / kMicrosPerSecond;
    return outcome;
  }

  std::vector<pid_t> pids() const {
    std::vector<pid_t> pids;
    for (const auto& process : processes_) pids.push_back(process->pid());
    return pids;
  }

 private:
  std::vector<std::unique_ptr<HostProcess>> processes_;
  std::vector<int> shares_;
};

// ---- So many at once

// What this bench is judged by.
struct Totals {
  double live = 0, failed = 0, mib_total = 0, made_per_second = 0, left_behind = 0;
};

// The children of the hosts.
std::vector<pid_t> LaunchersOf(const Hosts& hosts) {
  const std::vector<pid_t> pids = hosts.pids();
  std::vector<pid_t> launchers;
  for (const auto& [pid, parent] : ProcessesBelow(::getpid()))
    if (std::ranges::find(pids, parent) != pids.end()) launchers.push_back(pid);
  return launchers;
}

std::size_t MountsOfAll(const std::vector<pid_t>& pids) {
  std::size_t mounts = 0;
  for (const pid_t pid : pids) mounts += MountsOf(pid);
  return mounts;
}

// What processes have alone: those of the sandboxes, and hosts and launchers with them.
struct PrivateMemory {
  Row each_worker;
  double total_kib = 0;
};

PrivateMemory ReadPrivateMemory(const Census& census, std::string name) {
  PrivateMemory memory{{std::move(name), "KiB", {}}};
  for (const pid_t pid : census.Processes()) {
    const double kib = PrivateMemoryOf(pid);
    memory.total_kib += kib;
    if (IsInSandbox(pid)) memory.each_worker.samples.push_back(kib);
  }
  return memory;
}

// What the machine has less, for each sandbox and in total.
double AddMemory(const Memory& before, const Memory& live, double private_kib, double count,
                 const std::string& suffix, Report& report) {
  const double lost = before.available - live.available;
  const std::pair<const char*, double> kinds[] = {
      {"slab", live.slab - before.slab},
      {"kernel_stack", live.kernel_stack - before.kernel_stack},
      {"page_tables", live.page_tables - before.page_tables},
      {"percpu", live.percpu - before.percpu},
      {"shared", live.shared - before.shared}};
  double counted = private_kib;
  for (const auto& [name, kib] : kinds) {
    counted += kib;
    report.AddValue("each_" + std::string(name) + suffix, "KiB", kib / count);
  }
  report.AddValue("each_available_lost" + suffix, "KiB", lost / count);
  // What is available falls by less when caches of before can go too: the greater figure is it.
  return std::max(lost, counted) / kKibPerMib;
}

// Orphans come to this process, and are its to reap.
void ReapOrphans() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

// Once the kernel has let go of what it lets go of by itself, or after a while.
std::size_t CountLeft(const Census& census) {
  constexpr int kPolls = 100;
  for (int poll = 0; poll < kPolls; ++poll) {
    ReapOrphans();
    if (census.Processes().empty()) break;
    ::usleep(100'000);
  }
  return census.CountLeft();
}

Totals Measure(const std::string& directory, int count, bool with_cgroup, Report& report) {
  const std::string suffix = (with_cgroup ? "_" : "_no_cgroup_") + std::to_string(count);
  Census census;
  Totals totals;
  Memory live{};
  const Memory before_hosts = SettledMemory();
  {
    auto hosts = std::make_unique<Hosts>(directory, count, with_cgroup);
    hosts->Do(Task::kStart);
    const std::vector<pid_t> launchers = LaunchersOf(*hosts);
    const std::size_t launcher_mounts = MountsOfAll(launchers);

    Outcome made = hosts->Do(Task::kMake);
    live = Memory::Read();
    census.TakeLive();
    totals.live = static_cast<double>(census.live());
    totals.made_per_second = static_cast<double>(made.micros.size()) / made.seconds;
    report.AddValue("live" + suffix, "boxes", totals.live);
    report.AddValue("made_all" + suffix, "s", made.seconds);
    report.AddValue("made_per_second" + suffix, "1/s", totals.made_per_second);
    report.Add({"make" + suffix, "us", std::move(made.micros)});
    PrivateMemory own = ReadPrivateMemory(census, "each_private" + suffix);
    report.Add(std::move(own.each_worker));
    totals.mib_total = AddMemory(before_hosts, live, own.total_kib, count, suffix, report);
    report.AddValue("mib_total" + suffix, "MiB", totals.mib_total);

    Outcome ran = hosts->Do(Task::kExec);
    report.AddValue("exec_all" + suffix, "s", ran.seconds);
    report.Add({"exec" + suffix, "us", std::move(ran.micros)});
    totals.failed = std::max(made.failed, ran.failed);

    const Outcome killed = hosts->Do(Task::kKill);
    report.AddValue("torn_down" + suffix, "s", killed.seconds);
    // While the launchers live: no process in a sandbox, and no mount of one.
    const std::size_t mounts = MountsOfAll(launchers);
    totals.left_behind +=
        static_cast<double>(std::ranges::count_if(census.Processes(), IsInSandbox));
    totals.left_behind +=
        mounts > launcher_mounts ? static_cast<double>(mounts - launcher_mounts) : 0;
    const double start = Now();
    hosts.reset();
    report.AddValue("hosts_ended" + suffix, "s", (Now() - start) / kMicrosPerSecond);
  }
  totals.left_behind += static_cast<double>(CountLeft(census));
  report.AddValue("failed" + suffix, "boxes", totals.failed);
  report.AddValue("left_behind" + suffix, "things", totals.left_behind);
  const Memory after = SettledMemory();
  report.AddValue("slab_not_back" + suffix, "MiB", (after.slab - before_hosts.slab) / kKibPerMib);
  return totals;
}

// ---- What many runs leave in the kernel's memory

struct Runs {
  int first;
  int count;
};

// A sandbox that writes files, on the host's disk and its own, and is killed. The files stay, and
// with them what the kernel keeps for whom they were charged to.
void RunThatWrites(Launcher& launcher, const std::string& directory, int workspaces, int number,
                   bool with_cgroup) {
  const std::string name = std::to_string(number);
  const auto sandbox = OrExit(LocalSandbox::Create(
      launcher, SpecFor(directory, number % workspaces, "run-" + name, with_cgroup),
      Deadline::Never()));
  const std::string bytes(16 << 10, 'x');
  for (const char* folder : {"/workspace/a", "/workspace/b", "/home/agent/c", "/tmp/d"})
    OrExit(sandbox->Write({.path = folder + name, .bytes = bytes}, {}));
}

double SlabGrowth(const std::string& directory, int workspaces, int runs, bool with_cgroup) {
  const auto in_child = [&]() -> Answerer<Runs, Runs>::Serve {
    OrExit(sandbox::RaiseDescriptorLimit());
    const std::shared_ptr<Launcher> launcher = OrExit(Launcher::Start());
    return [=](const Runs& order) {
      for (int i = order.first; i < order.first + order.count; ++i)
        RunThatWrites(*launcher, directory, workspaces, i, with_cgroup);
      return order;
    };
  };
  const Answerer<Runs, Runs> host(in_child);
  const auto run = [&](int first, int count) {
    Runs done{};
    if (!host.Ask({first, count}) || !host.Take(done)) std::exit(1);  // it has said why
  };
  // What is made once is there before.
  const int warm_up = workspaces + runs / 10;
  run(0, warm_up);
  const double before = SettledMemory().slab;
  run(warm_up, runs);
  return (SettledMemory().slab - before) / kKibPerMib;
}

void AddTotals(const Totals& totals, double slab, const std::string& suffix, Report& report) {
  report.AddRatio("live" + suffix, totals.live);
  report.AddRatio("failed" + suffix, totals.failed);
  report.AddRatio("mib_total" + suffix, totals.mib_total);
  report.AddRatio("made_per_second" + suffix, totals.made_per_second);
  report.AddRatio("left_behind" + suffix, totals.left_behind);
  report.AddRatio("slab_growth_mib" + suffix, slab);
}

// The ratios are those of the last count; what failed or stayed counts for all.
void MeasureAll(const std::string& directory, const std::vector<int>& counts, bool with_cgroup,
                Report& report) {
  constexpr int kRuns = 1000;
  constexpr int kWorkspaces = 16;
  Totals totals;
  for (const int count : counts) {
    const Totals all_before = totals;
    totals = Measure(directory, count, with_cgroup, report);
    totals.failed += all_before.failed;
    totals.left_behind += all_before.left_behind;
  }
  const int runs = std::min(kRuns, counts.back());
  const double slab =
      SlabGrowth(directory, std::min(kWorkspaces, counts.back()), runs, with_cgroup);
  const std::string suffix = with_cgroup ? "" : "_no_cgroup";
  report.AddValue("slab_growth" + suffix + "_runs", "runs", runs);
  report.AddValue("slab_growth" + suffix, "MiB", slab);
  AddTotals(totals, slab, suffix, report);
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv, {1000, 5000, 10000});
  if (::geteuid() != 0) {
    std::fprintf(stderr, "ids of its own for each workspace are the superuser's to give\n");
    return 1;
  }
  OrExit(sandbox::RaiseDescriptorLimit());
  // A launcher whose host was killed is still below this process.
  CHECK(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  const ScratchDirectory directory;
  MakeWorkspaces(directory.path(), std::ranges::max(options.counts));
  Report report("density");
  MeasureAll(directory.path(), options.counts, true, report);
  MeasureAll(directory.path(), options.counts, false, report);
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
