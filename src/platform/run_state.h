// A run while it goes on: its thread, its record, its events.
#pragma once

#include <chrono>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <cofferdam/run.h>

#include "agent/loop.h"
#include "model/provider.h"
#include "platform/disk_plan.h"
#include "platform/event_queue.h"
#include "platform/kept_sandboxes.h"
#include "platform/platform_state.h"
#include "platform/session_turns.h"
#include "platform/view_use.h"
#include "policy/admission.h"
#include "record/event_log.h"
#include "record/events.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/spec.h"
#include "sessions/session.h"

namespace cofferdam {

/// Owned by its Run. The thread is the only one that changes anything but the queue; the result is
/// for everybody once done.
class Run::State {
 public:
  /// Checks the options, begins the record, and starts the thread. Errors as Workspace::Run.
  static Result<std::unique_ptr<State>> Start(std::shared_ptr<Workspace::State> workspace,
                                              RunOptions options);
  /// Cancels and waits.
  ~State();

  const std::string& id() const { return result_.run_id; }
  const std::string& session() const { return result_.session; }
  platform::EventQueue& events() { return events_; }
  void Cancel() { stop_.request_stop(); }
  const RunResult& Wait();

 private:
  State(std::shared_ptr<Workspace::State> workspace, RunOptions options)
      : workspace_(std::move(workspace)), options_(std::move(options)) {}

  Status Prepare();
  Status MakeRecord();
  Status ComeBeforeTheGate();
  void Execute();
  agent::LoopResult Work();
  Status AwaitSlot();
  Result<sessions::Session> OpenSession();
  Result<sandbox::Sandbox*> MakeSandbox();
  Status MountWorkspace(sandbox::Launcher& launcher);
  Status TurnEnded(std::int64_t turn);
  Status TakeCheckpoint(const std::string& reason, std::int64_t turn);
  void EndOrKeepSandbox();
  void TakeLastCheckpoint(agent::LoopResult& loop);
  void LetGoOfWorkspace();
  std::vector<record::NewEvent> EndSandbox();
  std::vector<record::NewEvent> KeepSandbox(std::chrono::seconds idle);
  void Report(const agent::Progress& progress);
  void Publish(RunEvent event);
  void Finish(agent::LoopResult loop, std::chrono::milliseconds duration);

  const std::shared_ptr<Workspace::State> workspace_;
  const RunOptions options_;
  std::stop_source stop_;
  Settings settings_;
  agent::LoopOptions loop_options_;
  platform::ViewChoice view_choice_;
  sandbox::SandboxSpec sandbox_spec_;
  // Of the sandbox, once there is one.
  platform::SandboxPlan sandbox_plan_;
  // Tells other processes that the workspace is in use, and other runs of the session to wait.
  std::shared_ptr<platform::DirectoryLock> in_use_;
  std::optional<platform::SessionTurns::Place> place_;
  std::optional<policy::Admission::Ticket> ticket_;
  std::unique_ptr<record::EventLog> record_;
  std::unique_ptr<model::Provider> provider_;
  std::optional<platform::DiskPlan> disk_plan_;
  std::optional<platform::ViewUse> view_;
  std::unique_ptr<sandbox::LocalSandbox> sandbox_;
  // After the sandbox that they know.
  std::optional<platform::OpenView::Member> member_;
  std::optional<platform::DiskGuard> disk_;
  platform::EventQueue events_;
  RunResult result_;
  std::latch done_{1};
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace cofferdam
