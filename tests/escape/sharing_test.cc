// What one sandbox can have of another: nothing by name, and of the files that both are shown what
// docs/threat-model.md says under "Shared read-only files".

#include <fcntl.h>
#include <unistd.h>

#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"
#include "outside.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using sandbox::Layer;

// A name that one sandbox makes and another looks for. The one that finds it removes it.
struct Shared {
  const char* name;
  const char* make;
  const char* find;
  std::string outcome;
  /// Where it is found: two sandboxes without these layers; with none, two processes outside.
  std::vector<Layer> without;
  /// Layers that refuse the making as well, and are not there in either case.
  std::vector<Layer> never = {};
};

void PrintTo(const Shared& shared, std::ostream* out) { *out << shared.name; }

std::vector<Shared> SharedThings() {
  return {
      {"SharedMemory",
       "share_memory",
       "attach_shared_memory",
       "errno ENOENT",
       {Layer::kIpcNamespace}},
      {"Semaphore", "share_semaphore", "find_semaphore", "errno ENOENT", {Layer::kIpcNamespace}},
      {"MessageQueue", "share_queue", "find_queue", "errno ENOENT", {Layer::kIpcNamespace}},
      {"PosixQueue",
       "share_posix_queue",
       "find_posix_queue",
       "errno ENOENT",
       {Layer::kIpcNamespace, Layer::kLandlock},
       {Layer::kLandlock}},
      {"PosixSharedMemory", "share_posix_memory", "find_posix_memory", "errno ENOENT", {}},
  };
}

class SharedNames : public EscapeTest, public testing::WithParamInterface<Shared> {
 protected:
  const std::string key_ = std::to_string(::getpid());
};

TEST_P(SharedNames, AreNotThereInAnotherSandbox) {
  const auto first = Make(GetParam().never);
  const auto second = Make(GetParam().never);
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(Attack(*first, {GetParam().make, key_}).outcome, "succeeded");
  EXPECT_EQ(Attack(*second, {GetParam().find, key_}).outcome, GetParam().outcome);
  EXPECT_EQ(AttackOutside({GetParam().find, key_}), GetParam().outcome) << "nor on the host";
  EXPECT_EQ(Attack(*first, {GetParam().find, key_}).outcome, "succeeded") << "it was made";
}

TEST_P(SharedNames, AreThereWithoutWhatStopsIt) {
  if (GetParam().without.empty()) {
    EXPECT_EQ(AttackOutside({GetParam().make, key_}), "succeeded");
    EXPECT_EQ(AttackOutside({GetParam().find, key_}), "succeeded");
    return;
  }
  const auto first = Make(GetParam().without);
  const auto second = Make(GetParam().without);
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(Attack(*first, {GetParam().make, key_}).outcome, "succeeded");
  EXPECT_EQ(Attack(*second, {GetParam().find, key_}).outcome, "succeeded");
}

INSTANTIATE_TEST_SUITE_P(Sharing, SharedNames, testing::ValuesIn(SharedThings()),
                         [](const auto& test) { return std::string(test.param.name); });

class SharingAttacks : public EscapeTest {
 protected:
  /// What a second attack says while the first one, in a sandbox of its own, goes on.
  std::string While(sandbox::LocalSandbox& first, std::vector<std::string> attack,
                    const std::function<std::string()>& second) {
    std::stop_source stop;
    std::string outcome = "the first attack did not get so far";
    const Attempt attempt = Attack(
        first, std::move(attack),
        [&](const std::string& printed) {
          if (stop.stop_requested()) return;
          outcome = printed == "succeeded" ? second() : "first: " + printed;
          stop.request_stop();
        },
        {}, stop.get_token());
    return outcome;
  }
  /// Whether a sandbox that watches a file notices that `open` opens it. What it would see next is
  /// a file of its own that the host opens.
  bool Notices(sandbox::LocalSandbox& watcher, const std::string& path,
               const std::function<void()>& open) {
    const std::string end = spec_.mounts[0].source + "/end";
    EXPECT_TRUE(sys::Open(end, O_WRONLY | O_CREAT, 0644));
    bool watches = false;
    const Attempt attempt = Attack(watcher, {"watch_file", path, "/workspace/end"},
                                   [&](const std::string& printed) {
                                     if (std::exchange(watches, true) || printed != "succeeded")
                                       return;
                                     open();
                                     EXPECT_TRUE(sys::Open(end, O_RDONLY));
                                   },
                                   {}, {});
    EXPECT_EQ(attempt.outcome, "succeeded") << "it watches";
    return attempt.result && attempt.result->exit_code == 0;
  }
  static constexpr char kHostFile[] = "/usr/bin/env";
};

TEST_F(SharingAttacks, AbstractSocketsOfAnotherSandboxAreNotThere) {
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(While(*first, {"listen_abstract", mark_},
                  [&] { return Attack(*second, {"abstract_socket", mark_}).outcome; }),
            "errno ECONNREFUSED");
}

TEST_F(SharingAttacks, ControlAbstractSocketsAreThereWithoutTheNetworkNamespace) {
  const auto first = Make({Layer::kNetNamespace, Layer::kLandlock});
  const auto second = Make({Layer::kNetNamespace, Layer::kLandlock});
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(While(*first, {"listen_abstract", mark_},
                  [&] { return Attack(*second, {"abstract_socket", mark_}).outcome; }),
            "succeeded");
}

// ---- Files that both are shown. What follows is known and written down, not stopped.

TEST_F(SharingAttacks, ALockOnASharedReadOnlyFileIsSeenByAnotherSandbox) {
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  for (const char* path : {kHostFile, "/etc/passwd", "/dev/null"}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(Attack(*second, {"try_lock", path}).outcome, "succeeded");
    EXPECT_EQ(While(*first, {"hold_lock", path},
                    [&] { return Attack(*second, {"try_lock", path}).outcome; }),
              "errno EAGAIN");
  }
}

TEST_F(SharingAttacks, ALockOnAFileOfOnesOwnIsNotSeen) {
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  for (sandbox::LocalSandbox* sandbox : {first.get(), second.get()})
    for (const char* path : {"/tmp/file", "/dev/shm/file", "/run/file"})
      ASSERT_TRUE(sandbox->Write({.path = path, .bytes = "x"}, {}));
  for (const char* path : {"/tmp/file", "/dev/shm/file", "/run/file"}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(While(*first, {"hold_lock", path},
                    [&] { return Attack(*second, {"try_lock", path}).outcome; }),
              "succeeded");
  }
}

TEST_F(SharingAttacks, TheOtherKindsOfLocksAreRefusedOnSharedFiles) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"lock_region", kHostFile}).outcome, "errno EBADF");
  EXPECT_EQ(Attack(*sandbox, {"take_lease", kHostFile}).outcome, "errno EACCES");
  ASSERT_TRUE(sandbox->Write({.path = "own", .bytes = "x"}, {}));
  EXPECT_EQ(Attack(*sandbox, {"take_lease", "/workspace/own"}).outcome, "succeeded");
}

TEST_F(SharingAttacks, AWatchOnASharedReadOnlyFileTellsWhoOpensIt) {
  const auto watcher = Make();
  const auto other = Make();
  ASSERT_TRUE(watcher != nullptr && other != nullptr);
  EXPECT_TRUE(Notices(*watcher, kHostFile, [&] {
    EXPECT_EQ(Attack(*other, {"open_for_reading", kHostFile}).outcome, "succeeded");
  }));
  EXPECT_TRUE(Notices(*watcher, kHostFile, [] { EXPECT_TRUE(sys::Open(kHostFile, O_RDONLY)); }))
      << "of the host as well";
  EXPECT_FALSE(Notices(*watcher, kHostFile, [] {})) << "a watch alone tells nothing";
}

TEST_F(SharingAttacks, AWatchOnAFileOfOnesOwnTellsNothingOfAnother) {
  const auto watcher = Make();
  const auto other = Make();
  ASSERT_TRUE(watcher != nullptr && other != nullptr);
  for (sandbox::LocalSandbox* sandbox : {watcher.get(), other.get()})
    ASSERT_TRUE(sandbox->Write({.path = "/tmp/file", .bytes = "x"}, {}));
  EXPECT_FALSE(Notices(*watcher, "/tmp/file", [&] {
    EXPECT_EQ(Attack(*other, {"open_for_reading", "/tmp/file"}).outcome, "succeeded");
  }));
}

}  // namespace
}  // namespace cofferdam::escape
