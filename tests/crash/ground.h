// The ground on which hosts are killed, prepared so that whatever one leaves behind is seen: its
// orphans become children of the test, its control groups lie below groups of the test's own, and a
// mount that gets out of a sandbox shows in a mount namespace of the test's own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace cofferdam::crash {

/// The processes below one, from /proc: its children, theirs and so on.
std::set<pid_t> Descendants(pid_t pid);
std::vector<pid_t> Children(pid_t pid);
/// The arguments of a process, each ended by a NUL; empty for one that has ended.
std::string CommandLine(pid_t pid);

/// One for each test program.
class Ground {
 public:
  Ground();
  ~Ground();
  Ground(const Ground&) = delete;
  Ground& operator=(const Ground&) = delete;

  /// In a new process: moves it below the test's control groups.
  void Enter() const;

  /// Takes down in which namespaces the descendants are now.
  void RememberNamespaces();

  /// The control groups that hosts made and that are still there, by path.
  std::vector<std::string> Groups() const;

  /// The processes in groups that somebody has frozen. With version 1 of control groups they end
  /// only when they are thawed, also by a kill.
  std::set<pid_t> Frozen() const;

  /// Waits until there is nothing left but what `allowed` names and (for a host that lives on)
  /// groups. The empty string, or what is there after 20 seconds.
  std::string WaitUntilNothingIsLeft(const std::function<std::set<pid_t>()>& allowed,
                                     bool groups_may_stay);

 private:
  struct GroupParent {
    std::string directory;
    bool own = false;
    std::set<std::string> before;
  };
  void MakeGroups();
  std::string Left(const std::set<pid_t>& allowed, bool groups_may_stay) const;
  std::string StillInNamespaces(const std::set<pid_t>& allowed) const;

  std::vector<GroupParent> groups_;
  bool own_mounts_ = false;
  std::string mounts_;
  std::set<std::uint64_t> namespaces_;
};

}  // namespace cofferdam::crash
