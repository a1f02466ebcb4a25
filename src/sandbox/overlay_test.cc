#include "sandbox/overlay.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/local_sandbox.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::HasSubstr;

class OverlayTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto launcher = Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = launcher->release();
  }
  static void TearDownTestSuite() { delete std::exchange(launcher_, nullptr); }

  void SetUp() override {
    ASSERT_NE(launcher_, nullptr);
    MakeDirectory("lower", Me());
    MakeDirectory("files", Me());
    MakeDirectory("files/upper", ToolIdentity());
    spec_.lowers = {{files_ / "lower", Me()}};
    spec_.parent = files_ / "files";
    spec_.upper = "upper";
    spec_.work = "work";
    spec_.identity = ToolIdentity();
  }

  static HostIdentity Me() { return {::geteuid(), ::getegid()}; }

  void MakeDirectory(const std::string& name, HostIdentity owner, mode_t mode = 0755) {
    const std::string path = files_ / name;
    ASSERT_EQ(::mkdir(path.c_str(), mode), 0) << path;
    ASSERT_EQ(::chown(path.c_str(), owner.uid, owner.gid), 0);
  }
  void WriteFile(const std::string& name, const std::string& text, HostIdentity owner,
                 mode_t mode = 0644) {
    const std::string path = files_ / name;
    std::ofstream(path) << text;
    ASSERT_EQ(::chown(path.c_str(), owner.uid, owner.gid), 0);
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  std::string ReadHost(const std::string& name) {
    return sys::ReadFile(files_ / name).value_or("(none)");
  }

  std::shared_ptr<const SharedMount> Mounted() {
    auto mount = MountOverlay(*launcher_, spec_);
    EXPECT_TRUE(mount) << mount.error().ToString();
    return mount ? *mount : nullptr;
  }

  std::unique_ptr<LocalSandbox> Make(std::vector<Mount> mounts) {
    SandboxSpec spec;
    if (!launcher_->cgroups()) spec.allow_missing = LayerSet().With(Layer::kCgroup);
    spec.id = "overlay-" + std::to_string(++count_);
    spec.mounts = std::move(mounts);
    auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return sandbox ? std::move(*sandbox) : nullptr;
  }
  std::unique_ptr<LocalSandbox> Make(std::shared_ptr<const SharedMount> shared,
                                     bool writable = true) {
    return Make({{.target = "/workspace", .writable = writable, .shared = std::move(shared)}});
  }

  // What a shell line says, on both streams.
  static std::string Say(LocalSandbox& sandbox, const std::string& line) {
    std::string said;
    const auto result =
        sandbox.Exec({.argv = {"/bin/sh", "-c", line}},
                     [&](OutputStream, std::string_view bytes) { said += bytes; }, {});
    return result ? said : result.error().ToString();
  }

  static inline Launcher* launcher_ = nullptr;
  static inline int count_ = 0;
  sys::TempDir files_;
  OverlaySpec spec_;
};

TEST_F(OverlayTest, TwoSandboxesSeeEachOthersWritesAndTheLayerNone) {
  WriteFile("lower/kept", "below", Me());
  const auto mount = Mounted();
  ASSERT_NE(mount, nullptr);
  const auto one = Make(mount);
  const auto two = Make(mount);
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  EXPECT_EQ(Say(*one, "cat kept; echo ' and above' >> kept; echo new > new"), "below");
  EXPECT_EQ(Say(*two, "cat kept new"), "below and above\nnew\n");
  EXPECT_EQ(Say(*two, "rm kept"), "");
  EXPECT_EQ(Say(*one, "ls"), "new\n");
  EXPECT_EQ(ReadHost("lower/kept"), "below");
  EXPECT_EQ(ReadHost("files/upper/new"), "new\n");
}

}  // namespace
}  // namespace cofferdam::sandbox
