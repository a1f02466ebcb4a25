#include "platform/rewind.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "agent/conversation.h"
#include "base/id.h"
#include "json/fields.h"
#include "platform/project_diff.h"
#include "platform/rewind_intent.h"
#include "platform/rewind_plan.h"
#include "platform/view.h"
#include "platform/view_choice.h"
#include "sessions/session.h"
#include "sessions/transcript.h"
#include "storage/file_lock.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

using projects::Checkpoint;
using projects::Checkpoints;

constexpr const char* kLock = "rewind.lock";
// Who writes in a session has it for as long as a run goes on: it is not waited for.
constexpr std::chrono::seconds kSessionPatience{1};

Result<sys::UniqueFd> OpenSessions(const Workspace::State& workspace) {
  return sys::OpenBeneath(workspace.folder(), "sessions", O_RDONLY | O_DIRECTORY,
                          sys::Links::kRefuse);
}

/// The session, while no run writes in it. kNotFound, kBusy.
Result<sessions::Session> OpenIdleSession(const Workspace::State& workspace,
                                          const std::string& session, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const sys::UniqueFd folder, OpenSessions(workspace));
  const auto transcript = sessions::ReadTranscript(folder.get(), session);
  if (!transcript && transcript.error().code == ErrorCode::kNotFound)
    return Err(ErrorCode::kNotFound,
               "workspace '" + workspace.id() + "' has no session '" + session + "'");
  if (!transcript) return std::unexpected(transcript.error());
  auto opened =
      sessions::Session::Open(folder.get(), session, workspace.id(), workspace.platform().clock(),
                              Deadline::After(kSessionPatience), stop);
  if (!opened && opened.error().code == ErrorCode::kTimeout)
    return Err(ErrorCode::kBusy, "a run goes on in session '" + session + "'",
               "wait for its end, or cancel it");
  return opened;
}

/// Of the workspace's last run; empty when there is none.
Result<std::string> LastSession(const Workspace::State& workspace) {
  ASSIGN_OR_RETURN(const sys::UniqueFd folder, OpenSessions(workspace));
  ASSIGN_OR_RETURN(const auto sessions, sessions::ListSessions(folder.get()));
  const auto last = std::ranges::max_element(sessions, {}, &sessions::SessionSummary::last);
  return last == sessions.end() ? std::string() : last->id;
}

std::string StateText(std::int64_t turn) {
  return turn == 0 ? "what they were when this conversation began"
                   : "what they were after turn " + std::to_string(turn) + " of this conversation";
}

/// What the model is told.
std::string NoteFor(const RewindIntent& intent) {
  std::string note = "[A note from the host. ";
  if (intent.turn && intent.files)
    note += "This conversation and the files in /workspace were put back to " +
            StateText(*intent.turn) + ". What came after it has been taken back.";
  else if (intent.turn)
    note += "This conversation was put back to " + StateText(*intent.turn) +
            ". The files in /workspace were left as they are, so look before you rely on them.";
  else
    note +=
        "The files in /workspace were put back to an earlier state. What this conversation says of "
        "them may not be so any more: look before you rely on it.";
  return note + " The sandbox is a new one: all processes and temporary files are gone.]";
}

// ---- Doing what an intent says

bool IsRestored(const std::vector<Checkpoint>& checkpoints, const std::string& id) {
  return std::ranges::any_of(checkpoints, [&id](const Checkpoint& checkpoint) {
    return checkpoint.label.reason == "rewind" && checkpoint.label.run == id;
  });
}

/// Nothing when it was done before.
Result<std::optional<projects::Restored>> RestoreFiles(const RewindIntent& intent,
                                                       ExclusiveView& view) {
  ASSIGN_OR_RETURN(const auto checkpoints, view.checkpoints().List(intent.files->choice.view));
  if (IsRestored(checkpoints, intent.id)) return std::nullopt;
  ASSIGN_OR_RETURN(projects::Restored restored,
                   view.checkpoints().Restore(intent.files->choice.view, intent.files->checkpoint,
                                              view.parts().upper(),
                                              {.reason = "rewind",
                                               .session = intent.session,
                                               .run = intent.id,
                                               .turn = intent.files->turn}));
  return restored;
}

Status RewindChat(const RewindIntent& intent, sessions::Session& session) {
  for (const json::Json& entry : session.Entries())
    if (json::GetString(entry, "run") == intent.id) return {};
  ASSIGN_OR_RETURN(auto entries,
                   agent::EntriesToRewind(session.Entries(), intent.turn, intent.note, intent.id));
  return session.Append(std::move(entries));
}

/// Everything that is still to be done. `view` is there when files are to be restored, `session`
/// when there is one.
Result<std::optional<projects::Restored>> Complete(const Workspace::State& workspace,
                                                   const RewindIntent& intent, ExclusiveView* view,
                                                   sessions::Session* session,
                                                   Checkpoints& checkpoints) {
  std::optional<projects::Restored> restored;
  if (intent.files) {
    ASSIGN_OR_RETURN(restored, RestoreFiles(intent, *view));
  }
  if (session != nullptr) RETURN_IF_ERROR(RewindChat(intent, *session));
  if (intent.turn) RETURN_IF_ERROR(checkpoints.Abandon(intent.session, *intent.turn));
  RETURN_IF_ERROR(RemoveIntent(workspace.folder()));
  return restored;
}

/// The caller holds the lock.
Status FinishLeftover(const Workspace::State& workspace, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const std::optional<RewindIntent> intent, ReadIntent(workspace.folder()));
  if (!intent) return {};
  std::optional<sessions::Session> session;
  if (!intent->session.empty()) {
    ASSIGN_OR_RETURN(session, OpenIdleSession(workspace, intent->session, stop));
  }
  std::optional<ExclusiveView> view;
  if (intent->files) {
    ASSIGN_OR_RETURN(ExclusiveView opened, ExclusiveView::Open(workspace, intent->files->choice));
    view.emplace(std::move(opened));
  }
  ASSIGN_OR_RETURN(Checkpoints checkpoints,
                   Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  RETURN_IF_ERROR(Complete(workspace, *intent, view ? &*view : nullptr,
                           session ? &*session : nullptr, checkpoints));
  return {};
}

// ---- Deciding what is to be done

Status CheckOptions(const RewindOptions& options) {
  if (!options.files && !options.chat)
    return Err(ErrorCode::kInvalidArgument, "neither files nor conversation: nothing to rewind");
  if (options.to_turn && options.checkpoint)
    return Err(ErrorCode::kInvalidArgument, "a turn or a checkpoint, not both");
  if (options.checkpoint && !options.files)
    return Err(ErrorCode::kInvalidArgument, "a checkpoint has files only",
               "name the turn for the conversation");
  if (!options.session.empty()) return CheckName("session", options.session);
  return {};
}

/// Where a rewind leads to.
struct Target {
  std::optional<std::int64_t> turn = {};
  std::optional<FilesTarget> files = {};
};

class Planner {
 public:
  Planner(const Workspace::State& workspace, const RewindOptions& options, Checkpoints& checkpoints,
          const AllCheckpoints& all)
      : workspace_(workspace), options_(options), checkpoints_(checkpoints), all_(all) {}

  /// `session` is null when there is none.
  Result<Target> Plan(const sessions::Session* session) {
    std::vector<agent::Turn> turns;
    if (session != nullptr) {
      ASSIGN_OR_RETURN(turns, agent::TurnsOf(session->Entries()));
      session_ = session->header().id;
    }
    Target target;
    if (options_.checkpoint) {
      ASSIGN_OR_RETURN(target, ToCheckpoint(turns));
    } else if (session == nullptr) {
      return Err(ErrorCode::kNotFound,
                 "workspace '" + workspace_.id() + "' has no session to rewind");
    } else if (options_.to_turn) {
      ASSIGN_OR_RETURN(target, ToTurn(turns, *options_.to_turn));
    } else {
      ASSIGN_OR_RETURN(target, ToBeforeLastRun(turns));
    }
    if (!options_.chat) target.turn.reset();
    if (!options_.files) target.files.reset();
    if (target.files) RETURN_IF_ERROR(Check(*target.files));
    return target;
  }

 private:
  Result<Target> ToCheckpoint(const std::vector<agent::Turn>& turns) {
    const auto found = std::ranges::find(all_, *options_.checkpoint, &Checkpoint::id);
    if (found == all_.end())
      return Err(ErrorCode::kNotFound, "workspace '" + workspace_.id() + "' has no checkpoint " +
                                           std::to_string(*options_.checkpoint));
    Target target{.files = FilesTarget{found->view, found->id}};
    const projects::CheckpointLabel& label = found->label;
    if (label.reason == "turn" && label.session == session_ && !found->abandoned &&
        label.turn <= std::ssize(turns))
      target.turn = label.turn;
    return target;
  }

  Result<Target> ToTurn(const std::vector<agent::Turn>& turns, std::int64_t turn) {
    if (turn < 0 || turn > std::ssize(turns))
      return Err(ErrorCode::kInvalidArgument, "session '" + session_ + "' has " +
                                                  std::to_string(turns.size()) +
                                                  " turns, and no turn " + std::to_string(turn));
    Target target{.turn = turn};
    if (!options_.files) return target;
    ASSIGN_OR_RETURN(target.files, FilesAfterTurn(all_, session_, turn));
    return target;
  }

  Result<Target> ToBeforeLastRun(const std::vector<agent::Turn>& turns) {
    if (turns.empty())
      return Err(ErrorCode::kInvalidArgument, "session '" + session_ + "' has no turns to rewind");
    const std::string& run = turns.back().run;
    const auto first = std::ranges::find(turns, run, &agent::Turn::run);
    Target target{.turn = first - turns.begin(), .files = FilesBeforeRun(all_, run)};
    // Its host was killed before the first checkpoint.
    if (!target.files && std::any_of(first, turns.end(),
                                     [](const agent::Turn& turn) { return turn.called_tools; })) {
      ASSIGN_OR_RETURN(target.files, AsLastKnown());
    }
    return target;
  }

  Result<std::optional<FilesTarget>> AsLastKnown() {
    if (const auto view = LastViewOf(all_, session_)) return NewestFiles(all_, *view);
    const auto choice = KnownView(workspace_, std::nullopt, checkpoints_);
    if (!choice) return std::nullopt;
    return NewestFiles(all_, choice->view);
  }

  Status Check(FilesTarget& files) {
    ASSIGN_OR_RETURN(files, CheckReachable(all_, files));
    if (options_.also_others) return {};
    const std::vector<std::string> others = OthersSince(all_, files, session_);
    if (others.empty()) return {};
    std::string names;
    for (const std::string& other : others) names += (names.empty() ? "'" : ", '") + other + "'";
    return Err(
        ErrorCode::kConflict,
        "other sessions have changed files since then, which would be taken back, too: " + names,
        "--also-others takes them back, --chat-only leaves the files as they are");
  }

  const Workspace::State& workspace_;
  const RewindOptions& options_;
  Checkpoints& checkpoints_;
  const AllCheckpoints& all_;
  std::string session_;
};

/// The session that is meant; empty for a checkpoint where there is none.
Result<std::string> SessionFor(const Workspace::State& workspace, const RewindOptions& options,
                               const AllCheckpoints& all) {
  if (!options.session.empty()) return options.session;
  if (options.checkpoint)
    if (const auto found = std::ranges::find(all, *options.checkpoint, &Checkpoint::id);
        found != all.end() && !found->label.session.empty())
      return found->label.session;
  return LastSession(workspace);
}

/// The intent of a target, and what is to be said of it. Files that are put back with the
/// conversation are those of its last turn; files alone are nobody's before the next turn.
Result<RewindIntent> IntentFor(const Workspace::State& workspace, const Target& target,
                               const std::string& session, std::int64_t turns,
                               Checkpoints& checkpoints) {
  RewindIntent intent{
      .id = NewId(workspace.platform().clock()), .session = session, .turn = target.turn};
  if (target.files) {
    ASSIGN_OR_RETURN(ViewChoice choice, ChoiceOf(target.files->view, checkpoints));
    intent.files = {.choice = std::move(choice),
                    .checkpoint = target.files->checkpoint,
                    .turn = target.turn.value_or(turns + 1)};
  }
  intent.note = NoteFor(intent);
  return intent;
}

/// Keeps the files as they are, so that the rewind can be rewound. kBusy when somebody was quicker
/// than the lock of the view, and `known` are not all checkpoints of it any more.
Status KeepWhatIs(const RewindIntent& intent, std::int64_t turns, const AllCheckpoints& known,
                  ExclusiveView& view, RewindResult& result) {
  const std::string& name = intent.files->choice.view;
  ASSIGN_OR_RETURN(const AllCheckpoints now, view.checkpoints().List());
  if (NewestFiles(now, name) != NewestFiles(known, name))
    return Err(ErrorCode::kBusy, "files were changed while this began", "try again");
  ASSIGN_OR_RETURN(projects::Taken taken,
                   view.checkpoints().Take(
                       name, view.parts().upper(),
                       {.reason = "before_rewind", .session = intent.session, .turn = turns}));
  result.left_out = PublicLeftOut(taken.left_out);
  if (taken.checkpoint)
    result.before = taken.checkpoint->id;
  else if (const auto newest = NewestFiles(known, name))
    result.before = newest->checkpoint;
  return {};
}

}  // namespace

Result<RewindResult> Rewind(const Workspace::State& workspace, const RewindOptions& options,
                            const std::stop_token& stop) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const storage::FileLock lock,
                   storage::FileLock::Acquire(workspace.folder(), kLock, Deadline::Never(), stop));
  RETURN_IF_ERROR(FinishLeftover(workspace, stop));
  ASSIGN_OR_RETURN(Checkpoints checkpoints,
                   Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  ASSIGN_OR_RETURN(const AllCheckpoints all, checkpoints.List());
  ASSIGN_OR_RETURN(const std::string name, SessionFor(workspace, options, all));
  std::optional<sessions::Session> session;
  std::int64_t turns = 0;
  if (!name.empty()) {
    ASSIGN_OR_RETURN(session, OpenIdleSession(workspace, name, stop));
    ASSIGN_OR_RETURN(const auto all_turns, agent::TurnsOf(session->Entries()));
    turns = std::ssize(all_turns);
  }
  ASSIGN_OR_RETURN(
      const Target target,
      Planner(workspace, options, checkpoints, all).Plan(session ? &*session : nullptr));
  ASSIGN_OR_RETURN(const RewindIntent intent,
                   IntentFor(workspace, target, name, turns, checkpoints));

  RewindResult result{.session = name, .turn = intent.turn};
  std::optional<ExclusiveView> view;
  if (intent.files) {
    ASSIGN_OR_RETURN(ExclusiveView opened, ExclusiveView::Open(workspace, intent.files->choice));
    view.emplace(std::move(opened));
    RETURN_IF_ERROR(KeepWhatIs(intent, turns, all, *view, result));
    result.files = true;
    result.project = intent.files->choice.project;
  } else {
    workspace.platform().kept().End(workspace.id());
  }
  RETURN_IF_ERROR(WriteIntent(workspace.folder(), intent));
  ASSIGN_OR_RETURN(const auto restored, Complete(workspace, intent, view ? &*view : nullptr,
                                                 session ? &*session : nullptr, checkpoints));
  if (restored) {
    result.paths = restored->paths;
    for (LeftOutPath& path : PublicLeftOut(restored->left_out))
      result.left_out.push_back(std::move(path));
  }
  return result;
}

Status FinishRewind(const Workspace::State& workspace, Deadline deadline,
                    const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const std::optional<RewindIntent> intent, ReadIntent(workspace.folder()));
  if (!intent) return {};
  ASSIGN_OR_RETURN(const storage::FileLock lock,
                   storage::FileLock::Acquire(workspace.folder(), kLock, deadline, stop));
  return FinishLeftover(workspace, stop);
}

Result<std::vector<CheckpointInfo>> ListCheckpoints(const Workspace::State& workspace,
                                                    const std::string& session) {
  ASSIGN_OR_RETURN(Checkpoints checkpoints,
                   Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  ASSIGN_OR_RETURN(const AllCheckpoints all, checkpoints.List());
  std::vector<CheckpointInfo> list;
  for (const Checkpoint& checkpoint : all) {
    if (!session.empty() && checkpoint.label.session != session) continue;
    const auto choice = ChoiceOf(checkpoint.view, checkpoints);
    list.push_back({.id = checkpoint.id,
                    .project = choice ? choice->project : checkpoint.view,
                    .reason = checkpoint.label.reason,
                    .session = checkpoint.label.session,
                    .run = checkpoint.label.run,
                    .turn = checkpoint.label.reason == "turn" ? checkpoint.label.turn : 0,
                    .time = FormatUtc(checkpoint.unix_millis),
                    .changed = checkpoint.changed,
                    .abandoned = checkpoint.abandoned,
                    .reachable = IsReachable(all, checkpoint)});
  }
  return list;
}

}  // namespace cofferdam::platform
