// What a sandbox's mounts withstand when everything else has failed: a process in the sandbox's own
// user and mount namespaces with every capability there, no filter and no Landlock.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "fixture.h"
#include "outside.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

std::string Told(long result) {
  return result < 0 ? ::strerrorname_np(errno) : std::string("succeeded");
}

class MountAttacks : public EscapeTest {
 protected:
  /// What `work` says inside the user and mount namespaces of the worker.
  static std::string Joined(const sandbox::LocalSandbox& sandbox,
                            const std::function<std::string()>& work) {
    const std::string proc = "/proc/" + std::to_string(sandbox.worker_pid()) + "/ns/";
    return InChild([&]() -> std::string {
      const auto user = sys::Open(proc + "user", O_RDONLY);
      const auto mounts = sys::Open(proc + "mnt", O_RDONLY);
      if (!user || !mounts) return std::string("opening: ") + ::strerrorname_np(errno);
      if (::setns(user->get(), CLONE_NEWUSER) != 0 || ::setns(mounts->get(), CLONE_NEWNS) != 0)
        return std::string("joining: ") + ::strerrorname_np(errno);
      return work();
    });
  }

  /// Where devices are mounted: nodes of the tree's own lie in one mount, the host's in one each.
  static std::string DevicesOf(const sandbox::LocalSandbox& sandbox) {
    const auto mounts =
        sys::ReadFile("/proc/" + std::to_string(sandbox.worker_pid()) + "/mountinfo");
    return mounts && mounts->find(" /dev/null ") != std::string::npos ? "/dev/null" : "/dev";
  }

  void SetUp() override {
    EscapeTest::SetUp();
    if (AsRoot()) return;
    // For an ordinary user the way there ends before the first step.
    const auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    EXPECT_EQ(Joined(*sandbox, [] { return std::string("joined"); }), "opening: EACCES");
    NoteSkipped("attacks from inside the namespaces of the worker",
                "an ordinary user cannot join them");
    GTEST_SKIP() << "an ordinary user cannot join the namespaces of the worker";
  }
};

TEST_F(MountAttacks, InheritedMountsStayReadOnlyForWhoeverJoins) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const std::string& path :
       {std::string("/"), std::string("/usr"), std::string("/mnt/attacks"), DevicesOf(*sandbox)}) {
    SCOPED_TRACE(path);
    const char* const target = path.c_str();
    const auto remount = [&] {
      return Told(::mount(nullptr, target, nullptr, MS_REMOUNT | MS_BIND, nullptr));
    };
    EXPECT_EQ(Joined(*sandbox, remount), "EPERM");
    const auto clear = [&] {
      mount_attr attributes{};
      attributes.attr_clr = MOUNT_ATTR_RDONLY;
      return Told(::mount_setattr(AT_FDCWD, target, 0, &attributes, sizeof(attributes)));
    };
    EXPECT_EQ(Joined(*sandbox, clear), "EPERM");
  }
}

TEST_F(MountAttacks, InheritedMountsStayNosuidAndNodevForWhoeverJoins) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const char* target : {"/workspace", "/mnt/attacks"}) {
    SCOPED_TRACE(target);
    for (const std::uint64_t attribute : {MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV}) {
      const auto clear = [&] {
        mount_attr attributes{};
        attributes.attr_clr = attribute;
        return Told(::mount_setattr(AT_FDCWD, target, 0, &attributes, sizeof(attributes)));
      };
      EXPECT_EQ(Joined(*sandbox, clear), "EPERM");
    }
  }
}

TEST_F(MountAttacks, InheritedMountsCannotBeTakenAwayByWhoeverJoins) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const std::string& path :
       {std::string("/usr"), std::string("/workspace"), std::string("/mnt/attacks"),
        std::string("/mnt"), DevicesOf(*sandbox), std::string("/tmp"), std::string("/run"),
        std::string("/dev/shm"), std::string("/dev/pts")}) {
    SCOPED_TRACE(path);
    const char* const target = path.c_str();
    EXPECT_EQ(Joined(*sandbox, [&] { return Told(::umount2(target, MNT_DETACH)); }), "EINVAL");
    EXPECT_EQ(Joined(*sandbox, [&] { return Told(::umount2(target, 0)); }), "EINVAL");
  }
}

// A mount that other sandboxes have, too.
TEST_F(MountAttacks, ASharedOverlayIsLockedForWhoeverJoins) {
  ASSERT_NE(ShareOverlay(), nullptr);
  spec_.mounts[0].writable = false;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const std::uint64_t attribute : {MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV}) {
    const auto clear = [&] {
      mount_attr attributes{};
      attributes.attr_clr = attribute;
      return Told(::mount_setattr(AT_FDCWD, "/workspace", 0, &attributes, sizeof(attributes)));
    };
    EXPECT_EQ(Joined(*sandbox, clear), "EPERM");
  }
  const auto reconfigure = [] {
    return Told(::mount(nullptr, "/workspace", nullptr, MS_REMOUNT, nullptr));
  };
  EXPECT_EQ(Joined(*sandbox, reconfigure), "EPERM");
  for (const int flags : {0, static_cast<int>(MNT_DETACH)})
    EXPECT_EQ(Joined(*sandbox, [&] { return Told(::umount2("/workspace", flags)); }), "EINVAL");
}

TEST_F(MountAttacks, NothingOfAnOverlaysBookKeepingIsMadeByWhoeverJoins) {
  ASSERT_NE(ShareOverlay(), nullptr);
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(
      Joined(*sandbox,
             [] { return Told(::setxattr("/workspace", "trusted.overlay.opaque", "y", 1, 0)); }),
      "EPERM");
  EXPECT_EQ(Joined(*sandbox, [] { return Told(::mknod("/workspace/gone", S_IFCHR, 0)); }), "EPERM");
}

// The sandbox's own /proc can be taken away; below it lies the one that made it possible.
TEST_F(MountAttacks, UncoveringProcShowsNoProcess) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const std::string seen = Joined(*sandbox, []() -> std::string {
    if (::umount2("/proc", MNT_DETACH) != 0) return Told(-1);
    const auto proc = sys::Open("/proc", O_RDONLY | O_DIRECTORY);
    if (!proc) return Told(-1);
    const auto names = sys::ListDirectory(proc->get());
    if (!names || names->empty()) return "nothing is mounted there";
    std::string numbers;
    for (const std::string& name : *names)
      if (name.find_first_not_of("0123456789") == std::string::npos) numbers += name + " ";
    return "processes: " + numbers;
  });
  EXPECT_EQ(seen, "processes: ");
}

dev_t DeviceOf(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? info.st_dev : 0;
}

TEST_F(MountAttacks, AMountInsideDoesNotReachTheHost) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const std::string work = spec_.mounts[0].source;
  const dev_t before = DeviceOf(work);
  const std::string made =
      Joined(*sandbox, [] { return Told(::mount("none", "/workspace", "tmpfs", 0, nullptr)); });
  EXPECT_EQ(made, "succeeded");
  EXPECT_EQ(DeviceOf(work), before);
}

// Nor does one that the host makes below a source, once a sandbox has that, reach the sandbox.
TEST_F(MountAttacks, AMountOfTheHostsDoesNotReachASandbox) {
  const std::string shown = files() / "shown";
  const std::string below = shown + "/below";
  ASSERT_EQ(::mkdir(shown.c_str(), 0755), 0);
  ASSERT_EQ(::mount("none", shown.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_EQ(::mount(nullptr, shown.c_str(), nullptr, MS_SHARED, nullptr), 0);
  EXPECT_EQ(::mkdir(below.c_str(), 0755), 0);
  spec_.mounts.push_back({shown, "/mnt/shown", false});
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(::mount("none", below.c_str(), "tmpfs", 0, nullptr), 0);
  const auto mounts =
      sys::ReadFile("/proc/" + std::to_string(sandbox->worker_pid()) + "/mountinfo");
  EXPECT_NE(mounts->find(" /mnt/shown "), std::string::npos);
  EXPECT_EQ(mounts->find(" /mnt/shown/below "), std::string::npos);
  EXPECT_EQ(::umount2(below.c_str(), MNT_DETACH), 0);
  EXPECT_EQ(::umount2(shown.c_str(), MNT_DETACH), 0);
}

TEST_F(MountAttacks, ControlAMountReachesANamespaceThatSharesIt) {
  const std::string scratch = host().scratch_directory();
  const std::string seen = InChild([&]() -> std::string {
    const char* const path = scratch.c_str();
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) ||
        ::mount(path, path, nullptr, MS_BIND, nullptr) != 0 ||
        ::mount(nullptr, path, nullptr, MS_SHARED, nullptr) != 0)
      return Told(-1);
    const dev_t before = DeviceOf(scratch);
    const std::string made = InChild([&] {
      return ::unshare(CLONE_NEWNS) == 0 ? Told(::mount("none", path, "tmpfs", 0, nullptr))
                                         : Told(-1);
    });
    if (made != "succeeded") return made;
    return DeviceOf(scratch) != before ? "it is here" : "it is not here";
  });
  EXPECT_EQ(seen, "it is here");
}

}  // namespace
}  // namespace cofferdam::escape
