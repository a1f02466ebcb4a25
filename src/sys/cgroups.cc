#include "sys/cgroups.h"

#include <signal.h>

#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "base/split.h"
#include "sys/file.h"

namespace cofferdam::sys {
namespace {

constexpr std::pair<const char*, const char*> kFrozen[] = {{"/freezer.state", "FROZEN"},
                                                           {"/cgroup.freeze", "1"}};
constexpr std::pair<const char*, const char*> kThawed[] = {{"/freezer.state", "THAWED"},
                                                           {"/cgroup.freeze", "0"}};

void SetState(int directory, const std::string& group,
              const std::pair<const char*, const char*> (&files)[2]) {
  // Of the two each hierarchy has one at most.
  for (const auto& [file, state] : files)
    static_cast<void>(WriteFileAt(directory, group + file, state));
}

void KillGroup(int directory, const std::string& group) {
  // Frozen, none can end and leave its number to a stranger before the signal is sent.
  SetState(directory, group, kFrozen);
  const auto members = ReadFileAt(directory, group + "/cgroup.procs");
  if (members)
    for (const std::string_view line : Split(*members, '\n')) {
      pid_t pid = 0;
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), pid);
      // 0 is a process that this pid namespace does not show.
      if (error == std::errc() && pid > 0) ::kill(pid, SIGKILL);
    }
  SetState(directory, group, kThawed);
}

}  // namespace

void ThawGroups(int directory) {
  const auto names = ListDirectory(directory);
  if (!names) return;
  for (const std::string& name : *names) SetState(directory, name, kThawed);
}

void KillGroups(int directory) {
  const auto names = ListDirectory(directory);
  if (!names) return;
  for (const std::string& name : *names) KillGroup(directory, name);
}

}  // namespace cofferdam::sys
