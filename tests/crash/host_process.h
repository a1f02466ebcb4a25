// A host as a process: what it says is read as it comes, and it, its launcher or its worker can be
// killed at any moment.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ground.h"
#include "json/json.h"
#include "sys/fd.h"

namespace cofferdam::crash {

using SteadyClock = std::chrono::steady_clock;

class HostProcess {
 public:
  /// Starts a program, with an empty environment.
  HostProcess(const Ground& ground, const std::vector<std::string>& arguments);
  /// Kills what still lives.
  ~HostProcess();
  HostProcess(const HostProcess&) = delete;
  HostProcess& operator=(const HostProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// The pids of its launcher and its worker: nothing while there is none.
  std::optional<pid_t> Launcher() const;
  std::optional<pid_t> Worker() const;
  /// Itself, its launcher and what the launcher has ready for sandboxes to come: nothing that
  /// belongs to one.
  std::set<pid_t> WithoutSandboxes() const;
  /// How many descriptors it has open.
  std::size_t Descriptors() const;

  /// Forgets what it said and gives it a line.
  void Send(const std::string& line);
  /// Lets it come to its end.
  void CloseInput() { input_.Reset(); }

  /// What it said, one object a line.
  const std::vector<json::Json>& said() const { return said_; }
  /// Reads until `enough` is true of what it said; false when the time is over or it has ended.
  bool ReadUntil(const std::function<bool()>& enough, SteadyClock::time_point until);
  bool has_ended() const { return has_ended_; }

  /// Its wait status; waits for its end.
  int Reap();

 private:
  bool ReadSome();

  pid_t pid_ = -1;
  bool reaped_ = false;
  bool has_ended_ = false;
  sys::UniqueFd input_;
  sys::UniqueFd output_;
  std::string partial_;
  std::vector<json::Json> said_;
};

}  // namespace cofferdam::crash
