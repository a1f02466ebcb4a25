// What a shared overlay costs: making one, and a sandbox that has it beside one with a plain mount
// of the same directory. As root the layers are another uid's, so that each needs an id map.

#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "measure.h"
#include "report.h"
#include "sandbox/host_limits.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/overlay.h"

namespace cofferdam::bench {
namespace {

using sandbox::HostIdentity;
using sandbox::Launcher;
using sandbox::LocalSandbox;
using sandbox::Mount;
using sandbox::OverlaySpec;

HostIdentity Me() { return {::geteuid(), ::getegid()}; }

std::string MakeDirectory(const std::string& path, HostIdentity owner) {
  CHECK(::mkdir(path.c_str(), 0755) == 0 && ::chown(path.c_str(), owner.uid, owner.gid) == 0);
  return path;
}

OverlaySpec SpecOf(const std::string& place, std::size_t layers, HostIdentity owner) {
  OverlaySpec spec;
  spec.identity = sandbox::ToolIdentity();
  spec.parent = MakeDirectory(place, Me());
  spec.upper = "upper";
  spec.work = "work";
  MakeDirectory(place + "/upper", spec.identity);
  for (std::size_t i = 0; i < layers; ++i)
    spec.lowers.push_back({MakeDirectory(place + "/layer" + std::to_string(i), owner), owner});
  return spec;
}

Row MicrosOf(const std::string& name) { return {name, "us", {}}; }

// A sandbox is ended before the next begins, as its mounts are.
void MeasureReady(Launcher& launcher, const Mount& mount, Row& row) {
  sandbox::SandboxSpec spec;
  spec.id = "bench-overlay";
  spec.mounts = {mount};
  launcher.WaitUntilFilled();
  const double start = Now();
  const auto sandbox = OrExit(LocalSandbox::Create(launcher, spec, Deadline::Never()));
  row.samples.push_back(Now() - start);
}

void MeasureMount(Launcher& launcher, const OverlaySpec& spec, Row& row) {
  const double start = Now();
  const auto mount = OrExit(sandbox::MountOverlay(launcher, spec));
  row.samples.push_back(Now() - start);
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  OrExit(sandbox::RaiseDescriptorLimit());
  const ScratchDirectory directory;
  const HostIdentity tools = sandbox::ToolIdentity();
  const OverlaySpec one = SpecOf(directory.path() + "/one", 1, tools);
  const OverlaySpec mapped = SpecOf(directory.path() + "/mapped", 1, Me());
  const OverlaySpec many = SpecOf(directory.path() + "/many", sandbox::kMaxOverlayLayers, Me());
  const auto launcher = OrExit(Launcher::Start());
  const auto shared = OrExit(sandbox::MountOverlay(*launcher, mapped));
  const Mount plain = {.source = one.lowers[0].source, .target = "/workspace", .writable = true};
  const Mount owned = {
      .source = mapped.lowers[0].source, .target = "/workspace", .writable = true, .owner = Me()};
  const Mount overlay = {.target = "/workspace", .writable = true, .shared = shared};
  Row mount_one = MicrosOf("mount");
  Row mount_mapped = MicrosOf("mount_mapped");
  Row mount_many = MicrosOf("mount_32_mapped");
  Row ready_plain = MicrosOf("ready_plain");
  Row ready_owned = MicrosOf("ready_owned");
  Row ready_shared = MicrosOf("ready_shared");
  for (int i = 0; i < options.count(); ++i) {
    MeasureReady(*launcher, plain, ready_plain);
    MeasureReady(*launcher, owned, ready_owned);
    MeasureReady(*launcher, overlay, ready_shared);
    MeasureMount(*launcher, one, mount_one);
    MeasureMount(*launcher, mapped, mount_mapped);
    MeasureMount(*launcher, many, mount_many);
  }
  Report report("overlay");
  for (Row* row :
       {&mount_one, &mount_mapped, &mount_many, &ready_plain, &ready_owned, &ready_shared})
    report.Add(std::move(*row));
  report.AddRatioOfMedians("ready_shared_vs_plain", "ready_shared", "ready_plain");
  report.AddRatioOfMedians("mount_vs_ready_plain", "mount_mapped", "ready_plain");
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
