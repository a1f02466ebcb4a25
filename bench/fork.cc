// How long it takes to fork a workspace with many files, beside a copy of them by cp. `shared` is
// the whole of ForkWorkspace, with the making of the second workspace; `copied` is a fork while a
// command works with the files.

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <cofferdam/platform.h>

#include "base/check.h"
#include "measure.h"
#include "report.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

constexpr int kFiles = 50'000;
constexpr std::uint64_t kBytes = std::uint64_t{2} << 30;
constexpr int kFilesPerDirectory = 100;
constexpr int kBigFiles = 8;
constexpr int kShared = 11;
constexpr int kCopied = 3;

struct Size {
  int files = kFiles;
  std::uint64_t bytes() const { return kBytes / kFiles * static_cast<std::uint64_t>(files); }
};

void WriteFile(const std::string& path, std::uint64_t bytes) {
  const sys::UniqueFd file = OrExit(sys::Open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  const std::string block(std::min<std::uint64_t>(bytes, std::uint64_t{1} << 20), 'x');
  for (std::uint64_t left = bytes; left > 0;) {
    const std::uint64_t now = std::min<std::uint64_t>(left, block.size());
    OrExit(sys::WriteAll(file.get(), std::string_view(block).substr(0, now)));
    left -= now;
  }
}

/// Small files in directories, and what is left of the bytes in a few big ones.
void MakeFiles(const std::string& folder, Size size) {
  constexpr std::uint64_t kSmall = 1000;
  for (int i = 0; i < size.files; ++i) {
    const std::string directory = folder + "/d" + std::to_string(i / kFilesPerDirectory);
    if (i % kFilesPerDirectory == 0) std::filesystem::create_directory(directory);
    WriteFile(directory + "/f" + std::to_string(i), kSmall);
  }
  const std::uint64_t left = size.bytes() - static_cast<std::uint64_t>(size.files) * kSmall;
  for (int i = 0; i < kBigFiles; ++i)
    WriteFile(folder + "/big" + std::to_string(i), left / kBigFiles);
  ::sync();
}

/// A workspace whose files are those that were made, each time a new one.
class Subject {
 public:
  Subject(Platform& platform, const std::string& files) : platform_(platform), files_(files) {}

  Workspace Make() {
    Workspace workspace = OrExit(platform_.CreateWorkspace(Name("from")));
    std::filesystem::rename(files_, workspace.work_folder());
    files_ = workspace.work_folder();
    if (::geteuid() == 0) {
      const HostIds ids = workspace.host_ids();
      const sys::UniqueFd root = OrExit(sys::Open("/", O_PATH | O_DIRECTORY));
      OrExit(sys::GiveTree(root.get(), files_.substr(1), {ids.first_uid, ids.first_gid}));
    }
    return workspace;
  }

  ForkResult Fork(const Workspace& from) {
    return OrExit(platform_.ForkWorkspace(from.id(), Name("to")));
  }

  /// Takes the files out of what was forked, which is no use any more then.
  void TakeBack(const ForkResult& forked) {
    if (forked.method == "shared") files_ = platform_.state() + "/layers/" + forked.layer + "/tree";
    const std::string back = platform_.state() + "/../files";
    std::filesystem::rename(files_, back);
    files_ = back;
    std::filesystem::create_directory(platform_.state() + "/layers/" + forked.layer + "/tree");
    for (const char* which : {"from", "to"})
      OrExit(platform_.DeleteWorkspace(Name(which), LiveRuns::kRefuse));
    ++count_;
  }

 private:
  std::string Name(const std::string& which) const { return which + std::to_string(count_); }

  Platform& platform_;
  std::string files_;
  int count_ = 0;
};

void MeasureShared(Subject& subject, int count, Report& report) {
  Row shared{"shared", "ms", {}};
  for (int i = 0; i < count; ++i) {
    const Workspace from = subject.Make();
    const double start = Now();
    const ForkResult forked = subject.Fork(from);
    shared.samples.push_back((Now() - start) / 1000);
    CHECK(forked.method == "shared");
    subject.TakeBack(forked);
  }
  report.Add(std::move(shared));
}

/// While a command holds the files.
double ForkLive(Subject& subject, Workspace& from, ForkResult& forked) {
  std::stop_source stop;
  const sys::Pipe ready = OrExit(sys::NewPipe());
  std::jthread command([&] {
    const ExecOptions options{.argv = {"sh", "-c", "echo; exec sleep 1000"}};
    OrExit(from.Exec(
        options, [&](bool, std::string_view) { OrExit(sys::WriteAll(ready.write_end.get(), "x")); },
        stop.get_token()));
  });
  char byte;
  CHECK(OrExit(sys::Read(ready.read_end.get(), {&byte, 1})) == 1);
  const double start = Now();
  forked = subject.Fork(from);
  const double took = (Now() - start) / 1000;
  stop.request_stop();
  return took;
}

void MeasureCopied(Subject& subject, int count, Report& report) {
  Row copied{"copied", "ms", {}};
  for (int i = 0; i < count; ++i) {
    Workspace from = subject.Make();
    ForkResult forked;
    copied.samples.push_back(ForkLive(subject, from, forked));
    CHECK(forked.method == "copied");
    std::filesystem::remove_all(from.work_folder() + "/../../../../layers/" + forked.layer +
                                "/tree");
    subject.TakeBack(forked);
  }
  report.Add(std::move(copied));
}

void MeasureCp(const std::string& files, const std::string& copy, int count, Report& report) {
  Row cp{"cp", "ms", {}};
  for (int i = 0; i < count; ++i) {
    const double start = Now();
    const Running running =
        OrExit(StartProgram({"cp", "-a", "--reflink=auto", files, copy}, StartBy::kSpawn));
    CHECK(WaitFor(running.pid) == 0);
    cp.samples.push_back((Now() - start) / 1000);
    std::filesystem::remove_all(copy);
  }
  report.Add(std::move(cp));
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv, {kFiles});
  const Size size{.files = options.count()};
  const ScratchDirectory scratch;
  const std::string files = scratch.path() + "/files";
  std::filesystem::create_directory(files);
  MakeFiles(files, size);
  Report report("fork");
  report.AddValue("files", "", size.files);
  report.AddValue("mib", "MiB", static_cast<double>(size.bytes() >> 20));
  MeasureCp(files, scratch.path() + "/copy", kCopied, report);
  Settings settings;
  settings.disk_mib = 0;
  settings.allow_missing = {"cgroup"};
  Platform platform =
      OrExit(Platform::Open({.state = scratch.path() + "/state", .settings = settings}));
  Subject subject(platform, files);
  MeasureShared(subject, kShared, report);
  MeasureCopied(subject, kCopied, report);
  report.AddRatio("fork_ms", report.MedianOf("shared"));
  report.AddRatioOfMedians("fork_vs_cp", "shared", "cp");
  report.AddRatioOfMedians("copied_vs_cp", "copied", "cp");
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
