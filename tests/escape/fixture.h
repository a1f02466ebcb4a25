// Sandboxes to attack, the host facts that attacks are given, and what is checked on the host after
// every attack.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "outside.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/overlay.h"
#include "sandbox/testing/test_control.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::escape {

/// Something of the host that an attack is given: its value, or why there is none here.
struct Fact {
  std::string value = {};
  std::string missing = {};
};

/// Things that an attacker would like to have, made once for all tests. Attack arguments name them
/// in braces.
class Host {
 public:
  Host();
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const Fact& Find(const std::string& name) const;
  /// The arguments with their facts in place; the reason when one of them is missing.
  std::vector<std::string> Fill(std::vector<std::string> arguments, std::string& missing) const;

  const std::string& attack_program() const { return program_; }
  /// Holds the attack program, its setuid copy and the like; mounted at /mnt/attacks.
  const std::string& attacks_directory() const { return attacks_; }
  const std::string& scratch_directory() const { return scratch_; }

  /// What differs from what was there at first; empty when nothing does.
  std::string Changes() const;

 private:
  void MakeFiles();
  void MakePrivilegedFiles();
  void MakeListeners();
  void MakeVictim();
  void FindDevices();
  void FindKernelFiles();

  sys::TempDir directory_;
  std::string attacks_;
  std::string scratch_;
  std::string program_;
  std::string host_name_;
  std::map<std::string, Fact> facts_;
  std::vector<sys::UniqueFd> open_;
  pid_t victim_ = -1;
};

/// Prints, once for each name, what could not be tried here and why; also at the very end.
void NoteSkipped(const std::string& what, const std::string& why);

/// A directory in memory that a workspace may have, for what would take a disk half a minute.
class FastDirectory {
 public:
  FastDirectory();
  ~FastDirectory();
  FastDirectory(const FastDirectory&) = delete;
  FastDirectory& operator=(const FastDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/dev/shm/cofferdam-test-XXXXXX";
};

class EscapeTest : public testing::Test {
 public:
  /// The seccomp profile of every sandbox that is attacked; `tools` unless main says otherwise.
  static void UseProfile(sandbox::SeccompProfile profile) { profile_ = profile; }

 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;
  void TearDown() override;

  static bool AsRoot();
  static const Host& host() { return *host_; }

  /// A sandbox without the given layers; the attack program is at /mnt/attacks.
  std::unique_ptr<sandbox::LocalSandbox> Make(const std::vector<sandbox::Layer>& without = {});
  /// The sandbox of any spec, or why there is none.
  static Result<std::unique_ptr<sandbox::LocalSandbox>> MakeFrom(const sandbox::SandboxSpec& spec);
  /// Makes /workspace of later sandboxes an overlay: below it "project" of the test's directory,
  /// its changes in "changes/upper". Anew when there is one.
  std::shared_ptr<const sandbox::SharedMount> ShareOverlay();
  /// The test's own directory, which no sandbox is shown as a whole.
  const sys::TempDir& files() const { return files_; }

  struct Attempt {
    Result<sandbox::ExecResult> result;
    std::string outcome;
  };
  /// Runs an attack to its end. The last argument marks its processes.
  Attempt Attack(sandbox::LocalSandbox& sandbox, std::vector<std::string> arguments,
                 const std::string& program = kProgramInside);
  /// As Attack, for attacks that go on: `then` is called when the first outcome was printed.
  Attempt Attack(sandbox::LocalSandbox& sandbox, std::vector<std::string> arguments,
                 const std::function<void(const std::string& outcome)>& then,
                 sandbox::ExecRequest request, std::stop_token stop);
  /// The outcome of the attack program as an ordinary process.
  std::string AttackOutside(std::vector<std::string> arguments, OutsideOptions options = {});

  /// Ends a sandbox and shows that nothing of it is left.
  void ExpectNothingSurvives(std::unique_ptr<sandbox::LocalSandbox> sandbox);
  /// The processes of a sandbox as the host sees them, without its worker.
  std::set<pid_t> ProcessesOf(const sandbox::LocalSandbox& sandbox) const;
  void ExpectWorking(sandbox::LocalSandbox& sandbox);

  static sandbox::SeccompProfile profile() { return profile_; }

  static constexpr char kProgramInside[] = "/mnt/attacks/attacks";

  sandbox::SandboxSpec spec_;
  std::string mark_;

 private:
  static inline std::unique_ptr<sandbox::Launcher> launcher_;
  static inline std::unique_ptr<Host> host_;
  static inline sandbox::SeccompProfile profile_ = sandbox::SeccompProfile::kTools;
  static inline int count_ = 0;
  sys::TempDir files_;
};

}  // namespace cofferdam::escape
