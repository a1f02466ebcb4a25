#include "sandbox/overlay.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/local_sandbox.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::HasSubstr;

// On the host, for as long as this lives.
class TestMount {
 public:
  TestMount(std::string place, const char* type, const std::string& options)
      : place_(std::move(place)),
        error_number_(::mount(type, place_.c_str(), type, 0, options.c_str()) == 0 ? 0 : errno) {}
  TestMount(const TestMount&) = delete;
  TestMount& operator=(const TestMount&) = delete;
  ~TestMount() {
    if (error_number_ == 0) ::umount2(place_.c_str(), MNT_DETACH);
  }
  int error_number() const { return error_number_; }

 private:
  std::string place_;
  int error_number_;
};

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

  struct stat LookAt(const std::string& name) {
    struct stat info{};
    EXPECT_EQ(::lstat((files_ / name).c_str(), &info), 0) << name;
    return info;
  }
  Place PlaceOf(const std::string& name) {
    const auto info = LookAt(name);
    return {info.st_dev, info.st_ino};
  }
  // 0, or the errno with which the kernel refuses another overlay above the same upper.
  int TryTheUpper() {
    MakeDirectory("place" + std::to_string(++count_), Me());
    const std::string at = files_ / ("place" + std::to_string(count_));
    const TestMount mounted(at, "overlay",
                            "index=on,lowerdir=" + files_ / "lower" + ",upperdir=" +
                                files_ / "files/upper" + ",workdir=" + files_ / "files/work");
    return mounted.error_number();
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

TEST_F(OverlayTest, TheHostSeesTheMergedTree) {
  WriteFile("lower/below", "below", Me());
  const auto mount = Mounted();
  ASSERT_NE(mount, nullptr);
  const auto sandbox = Make(mount);
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "echo above > above"), "");
  EXPECT_EQ(sys::ReadFileAt(mount->root(), "below").value_or("(none)"), "below");
  EXPECT_EQ(sys::ReadFileAt(mount->root(), "above").value_or("(none)"), "above\n");
}

TEST_F(OverlayTest, WhatAnOwnerMayDoTheAgentMay) {
  WriteFile("lower/secret", "a\n", Me(), 0600);
  MakeDirectory("lower/closed", Me(), 0700);
  WriteFile("lower/closed/file", "b\n", Me());
  const auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "stat -c '%U %G %a' . secret closed/file"),
            "agent agent 755\nagent agent 600\nagent agent 644\n");
  EXPECT_EQ(Say(*sandbox, "echo more >> secret; cat secret; echo c > closed/new; chmod 640 secret"),
            "a\nmore\n");
  for (const char* name : {"files/upper/secret", "files/upper/closed/new", "files/upper/closed"}) {
    SCOPED_TRACE(name);
    const auto info = LookAt(name);
    EXPECT_EQ(info.st_uid, spec_.identity.uid);
    EXPECT_EQ(info.st_gid, spec_.identity.gid);
  }
  EXPECT_EQ(LookAt("files/upper/secret").st_mode, S_IFREG | 0640U);
  EXPECT_EQ(ReadHost("lower/secret"), "a\n");
  EXPECT_EQ(LookAt("lower/secret").st_mode, S_IFREG | 0600U);
}

TEST_F(OverlayTest, AnOwnerWhoIsNeitherTheSuperuserNorTheAgentIsShownAsTheAgent) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: only root makes others' files";
  constexpr HostIdentity kOwner = {4711, 4712};
  MakeDirectory("other", kOwner);
  WriteFile("other/file", "a\n", kOwner, 0600);
  spec_.lowers = {{files_ / "other", kOwner}};
  const auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "stat -c '%U %G' file; echo b >> file; cat file"), "agent agent\na\nb\n");
  EXPECT_EQ(LookAt("files/upper/file").st_uid, spec_.identity.uid);
}

TEST_F(OverlayTest, FilesOfOthersAreNobodysAndStayAsTheyAre) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: only root makes others' files";
  constexpr HostIdentity kOther = {4711, 4711};
  WriteFile("lower/readable", "a\n", kOther, 0666);
  WriteFile("lower/closed", "b\n", kOther, 0600);
  const auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "stat -c '%U %G' readable closed"), "nobody nogroup\nnobody nogroup\n");
  EXPECT_EQ(Say(*sandbox, "cat readable; cat closed 2>/dev/null || echo no"), "a\nno\n");
  EXPECT_EQ(Say(*sandbox, "(echo x > readable) 2>/dev/null || echo no"), "no\n");
  EXPECT_EQ(Say(*sandbox, "(chmod 777 readable) 2>/dev/null || echo no"), "no\n");
  EXPECT_EQ(ReadHost("lower/readable"), "a\n");
}

TEST_F(OverlayTest, DeletingLeavesAWhiteoutAboveTheLayer) {
  WriteFile("lower/file", "below", Me());
  const auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "rm file"), "");
  const auto info = LookAt("files/upper/file");
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_EQ(info.st_rdev, 0U);
  EXPECT_EQ(ReadHost("lower/file"), "below");
}

// As root one redirect; as an ordinary user a copy, which mv makes when it hears EXDEV.
TEST_F(OverlayTest, ADirectoryOfALayerCanBeRenamed) {
  MakeDirectory("lower/old", Me());
  WriteFile("lower/old/file", "below", Me());
  const auto mount = Mounted();
  const auto sandbox = Make(mount);
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "mv old new && cat new/file && ls"), "belownew\n");
  char redirect[64] = {};
  const std::string renamed = files_ / "files/upper/new";
  const ssize_t length =
      ::lgetxattr(renamed.c_str(), "trusted.overlay.redirect", redirect, sizeof(redirect) - 1);
  EXPECT_EQ(length > 0, mount->trusted());
  EXPECT_EQ(ReadHost("files/upper/new/file"), mount->trusted() ? "(none)" : "below");
  EXPECT_EQ(ReadHost("lower/old/file"), "below");
}

TEST_F(OverlayTest, ChangesAreThereWhenItIsMountedAgain) {
  MakeDirectory("lower/old", Me());
  WriteFile("lower/old/file", "below", Me());
  WriteFile("lower/gone", "below", Me());
  auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "mv old new && rm gone && echo above > made"), "");
  sandbox = nullptr;
  sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "cat new/file made; ls"), "belowabove\nmade\nnew\n");
}

TEST_F(OverlayTest, TheWorkDirectoryIsEmptiedFirst) {
  MakeDirectory("files/work", Me());
  MakeDirectory("files/work/work", Me(), 0);
  WriteFile("files/work/left", "by a mount that a power failure ended", Me());
  ASSERT_NE(Mounted(), nullptr);
  EXPECT_NE(::access((files_ / "files/work/left").c_str(), F_OK), 0);
}

TEST_F(OverlayTest, TheUppermostOfThirtyTwoLayersCountsAndMoreAreRefused) {
  spec_.lowers.clear();
  for (std::size_t i = 0; i < kMaxOverlayLayers; ++i) {
    // As root each of another owner, as layers of other workspaces are.
    const auto id = static_cast<std::uint32_t>(5000 + i);
    const HostIdentity owner = ::geteuid() == 0 ? HostIdentity{id, id} : Me();
    const std::string name = "layer" + std::to_string(i);
    MakeDirectory(name, owner);
    WriteFile(name + "/shared", std::to_string(i) + "\n", owner, 0600);
    WriteFile(name + "/own" + std::to_string(i), "x", owner, 0600);
    spec_.lowers.push_back({files_ / name, owner});
  }
  const auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "cat shared; ls own* | wc -l; cat own31"), "0\n32\nx");
  spec_.lowers.push_back(spec_.lowers.front());
  EXPECT_EQ(MountOverlay(*launcher_, spec_).error().code, ErrorCode::kTooLarge);
}

TEST_F(OverlayTest, OneSandboxMayOnlyReadWhatAnotherWrites) {
  const auto mount = Mounted();
  const auto reader = Make(mount, false);
  const auto writer = Make(mount);
  ASSERT_NE(reader, nullptr);
  ASSERT_NE(writer, nullptr);
  EXPECT_EQ(Say(*writer, "echo text > file"), "");
  EXPECT_THAT(Say(*reader, "cat file; echo x >> file"),
              testing::AllOf(testing::StartsWith("text\n"), HasSubstr("Read-only file system")));
}

TEST_F(OverlayTest, IsNosuidAndNodevInside) {
  const auto sandbox = Make(Mounted());
  ASSERT_NE(sandbox, nullptr);
  const std::string line = Say(*sandbox, "grep ' /workspace ' /proc/self/mountinfo");
  EXPECT_THAT(line, HasSubstr(" rw,nosuid,nodev,"));
  EXPECT_THAT(line, HasSubstr(" - overlay "));
}

TEST_F(OverlayTest, AFrozenSandboxWritesNothing) {
  if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
  const auto mount = Mounted();
  const auto sandbox = Make(mount);
  ASSERT_NE(sandbox, nullptr);
  const auto size = [&] {
    return sys::ReadFileAt(mount->root(), "file", 1 << 28).value_or("").size();
  };
  std::jthread writer([&] { Say(*sandbox, "while :; do echo line >> file; done"); });
  const Deadline patience = Deadline::After(std::chrono::seconds(20));
  while (size() == 0 && !patience.Expired()) {
  }
  ASSERT_TRUE(sandbox->Freeze());
  const std::size_t frozen = size();
  EXPECT_GT(frozen, 0U);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(size(), frozen);
  ASSERT_TRUE(sandbox->Thaw());
  while (size() == frozen && !patience.Expired()) {
  }
  EXPECT_GT(size(), frozen);
  sandbox->Kill();
}

// Whether some overlay has the upper: with an index the kernel refuses one that is in use.
TEST_F(OverlayTest, GoesWithTheLastThatHasIt) {
  if (!OverlaysAreTrusted()) GTEST_SKIP() << "needs root: to ask the kernel by a mount of our own";
  auto mount = Mounted();
  auto sandbox = Make(mount);
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(TryTheUpper(), EBUSY);
  mount = nullptr;
  EXPECT_EQ(TryTheUpper(), EBUSY) << "the sandbox has it";
  EXPECT_EQ(Say(*sandbox, "echo still > here; cat here"), "still\n");
  sandbox = nullptr;
  const Deadline patience = Deadline::After(std::chrono::seconds(20));
  int seen = EBUSY;
  while (seen == EBUSY && !patience.Expired()) seen = TryTheUpper();
  EXPECT_EQ(seen, 0);
}

TEST_F(OverlayTest, ASandboxHoldsItAsLongAsItExists) {
  auto mount = Mounted();
  auto sandbox = Make(mount);
  ASSERT_NE(sandbox, nullptr);
  const std::weak_ptr<const SharedMount> seen = mount;
  mount = nullptr;
  EXPECT_FALSE(seen.expired());
  sandbox = nullptr;
  EXPECT_TRUE(seen.expired());
}

TEST_F(OverlayTest, LeavesNothingInTheLauncher) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: to look at the launcher";
  launcher_->WaitUntilFilled();
  const auto launcher = launcher_->Pid();
  ASSERT_TRUE(launcher);
  const std::string process = "/proc/" + std::to_string(*launcher);
  const auto seen = [&] {
    std::string text = sys::ReadFile(process + "/mountinfo").value_or("");
    const auto fds = sys::Open(process + "/fd", O_RDONLY | O_DIRECTORY);
    return text + std::to_string(sys::ListDirectory(fds->get())->size());
  };
  const std::string before = seen();
  std::vector<std::shared_ptr<const SharedMount>> mounts;
  for (int i = 0; i < 3; ++i) mounts.push_back(Mounted());
  spec_.lowers.push_back({files_ / "absent", Me()});
  EXPECT_FALSE(MountOverlay(*launcher_, spec_));
  EXPECT_EQ(seen(), before);
}

TEST_F(OverlayTest, OutlivesItsLauncherForRootAndIsToBeMadeAnewElse) {
  auto own = Launcher::Start(0);
  ASSERT_TRUE(own) << own.error().ToString();
  const auto mount = MountOverlay(**own, spec_);
  ASSERT_TRUE(mount) << mount.error().ToString();
  SandboxSpec spec;
  if (!launcher_->cgroups()) spec.allow_missing = LayerSet().With(Layer::kCgroup);
  spec.id = "outlives";
  spec.mounts = {{.target = "/workspace", .writable = true, .shared = *mount}};
  const auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
  if (::geteuid() == 0) {
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return;
  }
  ASSERT_FALSE(sandbox);
  EXPECT_EQ(sandbox.error().code, ErrorCode::kSandboxLost);
  EXPECT_THAT(sandbox.error().message, HasSubstr("/workspace"));
}

// ---- What is refused

TEST_F(OverlayTest, ALayerThatIsGoneIsNamed) {
  spec_.lowers.push_back({files_ / "absent", Me()});
  const auto mount = MountOverlay(*launcher_, spec_);
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(mount.error().message, HasSubstr(files_ / "absent"));
}

TEST_F(OverlayTest, ALayerBehindALinkOrThatIsNoDirectoryIsRefused) {
  ASSERT_EQ(::symlink("lower", (files_ / "link").c_str()), 0);
  WriteFile("file", "", Me());
  for (const char* name : {"link", "file"}) {
    spec_.lowers = {{files_ / name, Me()}};
    const auto mount = MountOverlay(*launcher_, spec_);
    ASSERT_FALSE(mount) << name;
    EXPECT_THAT(mount.error().message, HasSubstr(files_ / name));
  }
}

// What lies at a path by the time that the mounter comes is not what the host has seen.
TEST_F(OverlayTest, ASwappedLayerIsNotMounted) {
  MakeDirectory("files/work", Me());
  const auto request = [&](const std::string& opened, const std::string& seen) {
    OverlayRequest overlay{};
    overlay.layer_count = 1;
    overlay.identity = {spec_.identity.uid, spec_.identity.gid};
    overlay.layers[0] = {PlaceOf(seen), {Me().uid, Me().gid}};
    overlay.parent = PlaceOf("files");
    overlay.upper_place = PlaceOf("files/upper");
    overlay.work_place = PlaceOf("files/work");
    std::strcpy(overlay.upper, "upper");
    std::strcpy(overlay.work, "work");
    const auto parent = sys::Open(files_ / "files", O_PATH);
    const auto layer = sys::Open(files_ / opened, O_PATH);
    const int fds[] = {parent->get(), layer->get()};
    const auto answer = launcher_->MountOverlay(overlay, fds);
    EXPECT_TRUE(answer) << answer.error().ToString();
    return answer->reply;
  };
  EXPECT_EQ(request("lower", "lower").failed_step, OverlayStep::kNone) << "the control";
  MakeDirectory("another", Me());
  const OverlayReply swapped = request("another", "lower");
  EXPECT_EQ(swapped.failed_step, OverlayStep::kLayer);
  EXPECT_EQ(swapped.error_number, ESTALE);
}

TEST_F(OverlayTest, NamesThatMeanSomethingInOptionsAreRefused) {
  for (const char* name : {"", ".", "..", "a,b", "a:b", "a/b", "a\\b", "work"}) {
    spec_.upper = name;
    EXPECT_EQ(MountOverlay(*launcher_, spec_).error().code, ErrorCode::kInvalidArgument) << name;
  }
}

TEST_F(OverlayTest, WithoutALayerThereIsNone) {
  spec_.lowers.clear();
  EXPECT_EQ(MountOverlay(*launcher_, spec_).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(OverlayTest, AnOrdinaryUserCannotShowOthersFilesAsItsOwn) {
  if (::geteuid() == 0) GTEST_SKIP() << "root can";
  spec_.lowers[0].owner = {0, 0};
  const auto mount = MountOverlay(*launcher_, spec_);
  EXPECT_EQ(mount.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(mount.error().message, HasSubstr(files_ / "lower"));
  EXPECT_THAT(mount.error().hint, HasSubstr("project_mode copy"));
}

TEST_F(OverlayTest, AFileSystemWithoutIdMappedMountsIsNamed) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: nobody else maps ids";
  spec_.lowers = {{"/proc/sys", {0, 0}}};
  const auto mount = MountOverlay(*launcher_, spec_);
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(mount.error().message, HasSubstr("'/proc/sys'"));
  EXPECT_THAT(mount.error().message, HasSubstr("idmapped"));
  EXPECT_THAT(mount.error().hint, HasSubstr("project_mode copy"));
}

TEST_F(OverlayTest, WhereTheChangesCannotGoIsNamed) {
  if (!OverlaysAreTrusted()) GTEST_SKIP() << "needs root: to mount such file systems";
  const std::string over = "lowerdir=" + files_ / "lower" + ",upperdir=" + files_ / "files/upper" +
                           ",workdir=" + files_ / "files/work";
  MakeDirectory("files/work", Me());
  MakeDirectory("place", Me());
  for (const auto& [type, options, reason] :
       {std::tuple{"ramfs", std::string(), "extended attributes"},
        std::tuple{"overlay", over, "an overlay itself"}}) {
    const TestMount mounted(files_ / "place", type, options);
    ASSERT_EQ(mounted.error_number(), 0) << type;
    MakeDirectory("place/upper", spec_.identity);
    OverlaySpec spec = spec_;
    spec.parent = files_ / "place";
    const auto mount = MountOverlay(*launcher_, spec);
    ASSERT_FALSE(mount) << type;
    EXPECT_EQ(mount.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(mount.error().message, HasSubstr(files_ / "place"));
    EXPECT_THAT(mount.error().message, HasSubstr(reason));
  }
}

// ---- Plain mounts with an owner

class OwnedMountTest : public OverlayTest {
 protected:
  static constexpr HostIdentity kOwner = {4711, 4712};

  Mount Shown(const std::string& source, bool writable) {
    return {.source = source, .target = "/workspace", .writable = writable, .owner = kOwner};
  }
};

TEST_F(OwnedMountTest, ItsFilesAreTheAgentsInsideAndTheOwnersOnTheDisk) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: nobody else maps ids";
  MakeDirectory("project", kOwner, 0700);
  WriteFile("project/file", "a\n", kOwner, 0600);
  const auto sandbox = Make({Shown(files_ / "project", true)});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "stat -c '%U %G' . file; echo b >> file; echo new > new"),
            "agent agent\nagent agent\n");
  EXPECT_EQ(ReadHost("project/file"), "a\nb\n");
  EXPECT_EQ(LookAt("project/new").st_uid, kOwner.uid);
  EXPECT_EQ(LookAt("project/new").st_gid, kOwner.gid);
}

TEST_F(OwnedMountTest, ReadOnlyHolds) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: nobody else maps ids";
  MakeDirectory("project", kOwner, 0700);
  WriteFile("project/file", "a\n", kOwner, 0600);
  const auto sandbox = Make({Shown(files_ / "project", false)});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "cat file; (echo b >> file) 2>/dev/null || echo no"), "a\nno\n");
}

TEST_F(OwnedMountTest, OfOneselfIsAPlainMount) {
  MakeDirectory("own", ToolIdentity());
  const auto sandbox = Make({{.source = files_ / "own",
                              .target = "/workspace",
                              .writable = true,
                              .owner = ToolIdentity()}});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "echo a > file; stat -c %U file"), "agent\n");
}

TEST_F(OwnedMountTest, WhereItCannotBeItIsRefusedByName) {
  const bool root = ::geteuid() == 0;
  SandboxSpec spec;
  spec.allow_missing = LayerSet().With(Layer::kCgroup);
  spec.id = "refused";
  spec.mounts = {Shown(root ? "/proc/sys" : files_ / "lower", false)};
  const auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
  ASSERT_FALSE(sandbox);
  EXPECT_EQ(sandbox.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(sandbox.error().message, HasSubstr(root ? "/workspace" : files_ / "lower"));
}

}  // namespace
}  // namespace cofferdam::sandbox
