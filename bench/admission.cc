// How much later a tenant's first run starts because another tenant has started 1,000 runs, and how
// long a kept sandbox takes to wake. A run starts with its first event; `whole` is until its end,
// with one command in a sandbox. Before, beside and after the crowd the same is measured, each time
// in a workspace of its own.

#include <stdlib.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cofferdam/platform.h>

#include "base/check.h"
#include "report.h"
#include "sandbox/local_sandbox.h"

namespace cofferdam::bench {
namespace {

constexpr int kCrowd = 1000;
constexpr char kScript[] = R"(
turns:
  - text: I look.
    tool_calls: [{name: bash, arguments: {command: "true"}}]
  - text: Done.
)";
constexpr char kCrowdScript[] = R"(
turns:
  - text: I work.
    tool_calls: [{name: bash, arguments: {command: "sleep 0.5"}}]
  - text: Done.
)";

using Clock = std::chrono::steady_clock;

double MillisSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

template <typename T>
T OrEnd(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().ToString().c_str());
  std::exit(1);
}

class Folder {
 public:
  Folder() { CHECK(::mkdtemp(path_.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name) << text;
    return *this / name;
  }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / "cofferdam-bench-XXXXXX";
};

/// The first runs of tenants that come one after the other.
class Newcomers {
 public:
  Newcomers(Platform& platform, std::string script)
      : platform_(platform), script_(std::move(script)) {}

  void Measure(int count, Row& start, Row& whole) {
    for (int i = 0; i < count; ++i) {
      Workspace workspace =
          OrEnd(platform_.CreateWorkspace("newcomer-" + std::to_string(++count_)));
      const auto begin = Clock::now();
      const auto run = OrEnd(workspace.Run({.message = "go", .script = script_}));
      bool has_started = false;
      for (const RunEvent& event : run->Events()) {
        CHECK(!std::holds_alternative<QueuedEvent>(event));
        if (!std::exchange(has_started, true)) start.samples.push_back(MillisSince(begin));
      }
      CHECK(run->Wait().outcome == RunOutcome::kCompleted);
      whole.samples.push_back(MillisSince(begin));
    }
  }

 private:
  Platform& platform_;
  const std::string script_;
  int count_ = 0;
};

void MeasureCrowd(int count, Report& report) {
  const Folder folder;
  Platform platform = OrEnd(Platform::Open({.state = folder / "state"}));
  Newcomers newcomers(platform, folder.Write("script.yaml", kScript));
  Row start_alone{"start_alone", "ms", {}}, start_beside{"start_beside_1000", "ms", {}},
      whole_alone{"whole_alone", "ms", {}}, whole_beside{"whole_beside_1000", "ms", {}},
      queue{"crowd_call", "ms", {}};
  Row ignored{"warming_up", "ms", {}};
  newcomers.Measure(5, ignored, ignored);
  newcomers.Measure(count / 2, start_alone, whole_alone);

  Workspace crowd = OrEnd(platform.CreateWorkspace("crowd"));
  const std::string script = folder.Write("crowd.yaml", kCrowdScript);
  std::vector<std::unique_ptr<Run>> runs;
  for (int i = 0; i < kCrowd; ++i) {
    const auto begin = Clock::now();
    runs.push_back(OrEnd(crowd.Run({.message = "go", .script = script})));
    queue.samples.push_back(MillisSince(begin));
  }
  newcomers.Measure(count, start_beside, whole_beside);
  // The last to come: there was a queue all the time.
  for (const auto& run : runs) run->Cancel();
  CHECK(runs.back()->Wait().outcome == RunOutcome::kCancelled);
  runs.clear();

  newcomers.Measure(count - count / 2, start_alone, whole_alone);
  for (Row* row : {&start_alone, &start_beside, &whole_alone, &whole_beside, &queue})
    report.Add(std::move(*row));
  report.AddRatioOfMedians("delay_ratio", "start_beside_1000", "start_alone");
  report.AddRatioOfMedians("whole_ratio", "whole_beside_1000", "whole_alone");
}

void MeasureWake(int count, Report& report) {
  const auto launcher = OrEnd(sandbox::Launcher::Start());
  sandbox::SandboxSpec spec;
  spec.id = "bench-wake";
  const auto sandbox = OrEnd(sandbox::LocalSandbox::Create(*launcher, spec, Deadline::Never()));
  Row wake{"wake", "ms", {}};
  for (int i = 0; i < count; ++i) {
    if (const Status frozen = sandbox->Freeze(); !frozen) {
      std::fprintf(stderr, "wake: not measured: %s\n", frozen.error().ToString().c_str());
      return;
    }
    const auto begin = Clock::now();
    CHECK(sandbox->Thaw() && sandbox->Ping(Deadline::Never()));
    wake.samples.push_back(MillisSince(begin));
  }
  report.Add(std::move(wake));
  report.AddRatio("wake_ms", report.MedianOf("wake"));
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  Report report("admission");
  MeasureCrowd(options.count(), report);
  MeasureWake(options.count(), report);
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
