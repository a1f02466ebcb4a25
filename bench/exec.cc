// What a live sandbox costs over the same work without one: a command's round trip, its output, and
// files written and read through the host's interface.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "measure.h"
#include "report.h"
#include "sandbox/local_sandbox.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

using sandbox::LocalSandbox;

constexpr std::size_t kPiece = 64 * 1024;
constexpr std::uint64_t kOutputBytes = 1 << 30;
constexpr std::size_t kFileBytes = 256 << 20;
constexpr double kMicrosPerMilli = 1000;

// ---- A command's round trip

double InSandbox(LocalSandbox& sandbox, const std::string& program) {
  const double start = Now();
  ExecPayload(sandbox, program, [](sandbox::OutputStream, std::string_view) {});
  return Now() - start;
}

// With its output read to the end, as a sandbox's is.
double Outside(const std::string& program, std::uint64_t expected_bytes = 0) {
  std::string buffer(kPiece, '\0');
  std::uint64_t total = 0;
  const double start = Now();
  const Running running = OrExit(StartProgram({program}, StartBy::kSpawn));
  while (const std::size_t size = OrExit(sys::Read(running.output.get(), buffer))) total += size;
  CHECK(WaitFor(running.pid) == 0);
  const double micros = Now() - start;
  CHECK(total == expected_bytes);
  return micros;
}

void MeasureRoundTrips(LocalSandbox& sandbox, int count, Report& report) {
  Row rows[] = {{"exec_static", "us", {}},
                {"spawn_static", "us", {}},
                {"exec_bin_true", "us", {}},
                {"spawn_bin_true", "us", {}}};
  constexpr int kWarmUp = 5;
  for (int i = -kWarmUp; i < count; ++i) {
    const double micros[] = {InSandbox(sandbox, PayloadInside("true")),
                             Outside(PayloadOutside("true")), InSandbox(sandbox, "/bin/true"),
                             Outside("/bin/true")};
    for (std::size_t row = 0; row < std::size(rows) && i >= 0; ++row)
      rows[row].samples.push_back(micros[row]);
  }
  for (Row& row : rows) report.Add(std::move(row));
  report.AddRatio("exec_static_ms", report.MedianOf("exec_static") / kMicrosPerMilli);
  report.AddRatioOfMedians("exec_vs_spawn", "exec_static", "spawn_static");
  report.AddRatioOfMedians("exec_bin_true_vs_spawn", "exec_bin_true", "spawn_bin_true");
}

// ---- Output

double PourInSandbox(LocalSandbox& sandbox) {
  std::uint64_t total = 0;
  const double start = Now();
  ExecPayload(sandbox, PayloadInside("pour"),
              [&](sandbox::OutputStream, std::string_view bytes) { total += bytes.size(); });
  const double micros = Now() - start;
  CHECK(total == kOutputBytes);
  return micros;
}

void MeasureOutput(LocalSandbox& sandbox, int rounds, Report& report) {
  Row ours{"output_1gib", "ms", {}};
  Row pipe{"pipe_1gib", "ms", {}};
  for (int i = 0; i < rounds; ++i) {
    ours.samples.push_back(PourInSandbox(sandbox) / kMicrosPerMilli);
    pipe.samples.push_back(Outside(PayloadOutside("pour"), kOutputBytes) / kMicrosPerMilli);
  }
  report.Add(std::move(ours));
  report.Add(std::move(pipe));
  report.AddRatioOfMedians("output_vs_pipe", "output_1gib", "pipe_1gib");
}

// ---- Files

// As the worker does it: pieces into a new file, which takes the place of the old one once it is on
// the disk.
void WritePlain(const std::string& path, std::string_view bytes) {
  const std::string next = path + ".next";
  const sys::UniqueFd fd = OrExit(sys::Open(next, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  for (std::size_t at = 0; at < bytes.size(); at += kPiece)
    OrExit(sys::WriteAll(fd.get(), bytes.substr(at, kPiece)));
  CHECK(::fsync(fd.get()) == 0);
  CHECK(::rename(next.c_str(), path.c_str()) == 0);
}

std::string ReadPlain(const std::string& path) {
  const sys::UniqueFd fd = OrExit(sys::Open(path, O_RDONLY));
  std::string buffer(kPiece, '\0');
  std::string bytes;
  while (const std::size_t size = OrExit(sys::Read(fd.get(), buffer)))
    bytes.append(buffer, 0, size);
  return bytes;
}

// In the largest pieces that the interface takes: a file whole each way.
void MeasureFiles(LocalSandbox& sandbox, const std::string& directory, int rounds, Report& report) {
  const std::string bytes(kFileBytes, 'x');
  Row rows[] = {{"write_256mib", "ms", {}},
                {"file_write_256mib", "ms", {}},
                {"read_256mib", "ms", {}},
                {"file_read_256mib", "ms", {}}};
  for (int i = 0; i < rounds; ++i) {
    const double start = Now();
    OrExit(sandbox.Write({.path = "big", .bytes = bytes}, {}));
    const double written = Now();
    WritePlain(directory + "/plain", bytes);
    const double plainly_written = Now();
    const auto read = OrExit(sandbox.Read({.path = "big", .max_bytes = kFileBytes}, {}));
    const double was_read = Now();
    const std::string plain = ReadPlain(directory + "/plain");
    const double plainly_read = Now();
    CHECK(read.bytes == bytes && plain == bytes);
    const double times[] = {written - start, plainly_written - written, was_read - plainly_written,
                            plainly_read - was_read};
    for (std::size_t row = 0; row < std::size(rows); ++row)
      rows[row].samples.push_back(times[row] / kMicrosPerMilli);
  }
  for (Row& row : rows) report.Add(std::move(row));
  report.AddRatioOfMedians("write_vs_file", "write_256mib", "file_write_256mib");
  report.AddRatioOfMedians("read_vs_file", "read_256mib", "file_read_256mib");
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  const ScratchDirectory directory;
  const std::string workspace = directory.path() + "/workspace";
  const auto launcher = OrExit(sandbox::Launcher::Start());
  CHECK(::mkdir(workspace.c_str(), 0700) == 0);
  CHECK(::chown(workspace.c_str(), launcher->tool_identity().uid, launcher->tool_identity().gid) ==
        0);
  sandbox::SandboxSpec spec;
  spec.id = "bench-exec";
  spec.mounts = {{workspace, "/workspace", true}, PayloadMount()};
  spec.limits.memory_bytes = 1ull << 30;
  const auto sandbox = OrExit(LocalSandbox::Create(*launcher, spec, Deadline::Never()));
  Report report("exec");
  const int rounds = std::clamp(options.count() / 40, 1, 10);
  MeasureRoundTrips(*sandbox, options.count(), report);
  MeasureOutput(*sandbox, rounds, report);
  MeasureFiles(*sandbox, directory.path(), rounds, report);
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
