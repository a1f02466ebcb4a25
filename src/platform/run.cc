#include <cofferdam/run.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/check.h"
#include "base/error.h"
#include "base/id.h"
#include "base/utf8.h"
#include "platform/checkpoint_events.h"
#include "platform/denied_calls.h"
#include "platform/effective.h"
#include "platform/rewind.h"
#include "platform/run_state.h"
#include "sessions/session.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::chrono::milliseconds MillisSince(SteadyClock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - start);
}

RunUsage UsageOf(const model::Usage& usage) {
  return {usage.input_tokens, usage.output_tokens, usage.cache_read_tokens,
          usage.cache_write_tokens};
}

RunOutcome OutcomeOf(const std::optional<Error>& error) {
  if (!error) return RunOutcome::kCompleted;
  return error->code == ErrorCode::kCancelled ? RunOutcome::kCancelled : RunOutcome::kFailed;
}

std::vector<record::SeenLayer> SeenLayers(const sandbox::Sandbox& sandbox) {
  std::vector<record::SeenLayer> layers;
  for (const sandbox::LayerEvidence& layer : sandbox.layers())
    layers.push_back({layer.layer, layer.how, layer.detail});
  return layers;
}

std::vector<record::NewEvent> SandboxEvents(const sandbox::Sandbox& sandbox, bool resumed,
                                            std::int64_t milliseconds,
                                            const record::DiskLimit& disk) {
  if (resumed)
    return {record::SandboxResumed(sandbox.id(), milliseconds, SeenLayers(sandbox), disk)};
  return {record::SandboxMade(sandbox.id(), "local", milliseconds, disk),
          record::SandboxVerified(sandbox.id(), SeenLayers(sandbox))};
}

std::optional<record::SandboxUse> UseOf(sandbox::LocalSandbox& sandbox) {
  const auto used = sandbox.Usage();
  if (!used) return std::nullopt;
  return record::SandboxUse{.memory_peak_bytes = used->memory_peak_bytes,
                            .cpu_micros = used->cpu_micros,
                            .out_of_memory_kills = used->events.out_of_memory_kills,
                            .refused_forks = used->events.refused_forks,
                            .memory_pressure_micros = used->memory_pressure_micros,
                            .cpu_pressure_micros = used->cpu_pressure_micros,
                            .io_pressure_micros = used->io_pressure_micros};
}

RunEvent PublicEvent(const agent::ToolStarted& started) {
  return ToolStartedEvent{started.call.id, started.call.name, json::Dump(started.call.arguments)};
}

RunEvent PublicEvent(const agent::ToolEnded& ended) {
  return ToolEndedEvent{ended.call_id, ended.tool, ended.is_error, ended.content,
                        static_cast<double>(ended.duration.count()) / 1000.0};
}

RunEvent PublicEvent(const model::TextDelta& delta) { return TextEvent{delta.text}; }

RunEvent PublicEvent(const model::ThinkingDelta& delta) { return ThinkingEvent{delta.text}; }

}  // namespace

std::string RunOutcomeName(RunOutcome outcome) {
  switch (outcome) {
    case RunOutcome::kCompleted:
      return "completed";
    case RunOutcome::kFailed:
      return "failed";
    case RunOutcome::kCancelled:
      return "cancelled";
  }
  CHECK(false && "an outcome without a name");
}

Result<std::unique_ptr<Run::State>> Run::State::Start(std::shared_ptr<Workspace::State> workspace,
                                                      RunOptions options) {
  std::unique_ptr<State> state(new State(std::move(workspace), std::move(options)));
  RETURN_IF_ERROR(state->Prepare());
  RETURN_IF_ERROR(state->ComeBeforeTheGate());
  RETURN_IF_ERROR(state->MakeRecord());
  state->place_.emplace(state->workspace_->turns().Enter(state->session()));
  state->workspace_->Started(state->id(), state->stop_);
  state->thread_ = std::jthread([run = state.get()] { run->Execute(); });
  return state;
}

Run::State::~State() { Cancel(); }

/// Everything about the options that can be wrong is found here, before the run exists.
Status Run::State::Prepare() {
  const Clock& clock = workspace_->platform().clock();
  if (options_.message.empty()) return Err(ErrorCode::kInvalidArgument, "the message is empty");
  if (!IsValidUtf8(options_.message))
    return Err(ErrorCode::kInvalidArgument, "the message is not valid UTF-8");
  if (!options_.session.empty()) RETURN_IF_ERROR(CheckName("session", options_.session));
  settings_ = Overlay(Overlay(workspace_->platform().settings(), workspace_->settings()),
                      options_.settings);
  result_.run_id = NewId(clock);
  result_.session = options_.session.empty() ? NewId(clock) : options_.session;
  result_.folder = workspace_->path() + "/runs/" + id();
  ASSIGN_OR_RETURN(loop_options_, platform::LoopOptionsFor(settings_));
  loop_options_.run_id = id();
  loop_options_.stop = stop_.get_token();
  ASSIGN_OR_RETURN(view_choice_,
                   platform::ChooseView(settings_, workspace_->platform().directory().path()));
  ASSIGN_OR_RETURN(sandbox_spec_,
                   platform::SandboxSpecFor(settings_, workspace_->path(),
                                            workspace_->platform().directory().path()));
  sandbox_spec_.id = id();
  sandbox_spec_.audit_syscalls = options_.audit_syscalls;
  sandbox_spec_.identity = workspace_->identity();
  ASSIGN_OR_RETURN(provider_, workspace_->platform().MakeProvider(settings_, options_.script));
  return {};
}

Status Run::State::ComeBeforeTheGate() {
  const platform::AdmissionTerms terms = platform::AdmissionTermsFor(settings_);
  ASSIGN_OR_RETURN(auto ticket, workspace_->platform().admission().Enter(
                                    {.tenant = workspace_->id(),
                                     .slots_of_tenant = terms.max_concurrent_runs,
                                     .may_wait = terms.patience > std::chrono::seconds::zero()}));
  ticket_.emplace(std::move(ticket));
  return {};
}

Status Run::State::MakeRecord() {
  const Clock& clock = workspace_->platform().clock();
  ASSIGN_OR_RETURN(in_use_, workspace_->Use());
  ASSIGN_OR_RETURN(
      const sys::UniqueFd runs,
      sys::OpenBeneath(workspace_->folder(), "runs", O_PATH | O_DIRECTORY, sys::Links::kRefuse));
  if (::mkdirat(runs.get(), id().c_str(), 0700) != 0)
    return ErrnoError(errno, "making " + result_.folder);
  RETURN_IF_ERROR(storage::SyncDirectory(runs.get()));
  ASSIGN_OR_RETURN(const sys::UniqueFd folder,
                   sys::OpenBeneath(runs.get(), id(), O_PATH | O_DIRECTORY, sys::Links::kRefuse));
  const record::RunHeader header{.platform = workspace_->platform().directory().id(),
                                 .workspace = workspace_->id(),
                                 .session = session(),
                                 .run = id(),
                                 .time = FormatUtc(clock.UnixMillis())};
  ASSIGN_OR_RETURN(record_, record::EventLog::Create(folder.get(), "events.jsonl", header, clock));
  return {};
}

void Run::State::Execute() {
  agent::LoopResult loop;
  if (const Status begins = AwaitSlot(); !begins) loop.error = begins.error();
  const auto start = SteadyClock::now();
  if (!loop.error) loop = Work();
  EndOrKeepSandbox();
  TakeLastCheckpoint(loop);
  Finish(std::move(loop), MillisSince(start));
  LetGoOfWorkspace();
  events_.Close();
  ticket_.reset();
  place_.reset();
  in_use_.reset();
  workspace_->Ended(id());
  done_.count_down();
}

// The session's turn comes first, so that nobody holds a slot who cannot use it.
Status Run::State::AwaitSlot() {
  RETURN_IF_ERROR(place_->Wait(stop_.get_token()));
  if (!ticket_->Claim()) {
    const auto start = SteadyClock::now();
    RETURN_IF_ERROR(record_->Append(record::RunQueued()));
    Publish(QueuedEvent{});
    const auto patience = platform::AdmissionTermsFor(settings_).patience;
    const Status waited = ticket_->Wait(Deadline::After(patience), stop_.get_token());
    result_.queued_ms =
        std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
    RETURN_IF_ERROR(waited);
  }
  loop_options_.deadline = platform::RunDeadlineFor(settings_);
  return {};
}

Result<sessions::Session> Run::State::OpenSession() {
  RETURN_IF_ERROR(platform::FinishRewind(*workspace_, loop_options_.deadline, stop_.get_token()));
  RETURN_IF_ERROR(platform::FinishRewind(*workspace_, loop_options_.deadline, stop_.get_token()));
  ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                   sys::OpenBeneath(workspace_->folder(), "sessions", O_PATH | O_DIRECTORY,
                                    sys::Links::kRefuse));
  return sessions::Session::Open(directory.get(), session(), workspace_->id(),
                                 workspace_->platform().clock(), loop_options_.deadline,
                                 stop_.get_token());
}

agent::LoopResult Run::State::Work() {
  const auto failed = [](const Error& error) {
    agent::LoopResult result;
    result.error = error;
    return result;
  };
  auto session = OpenSession();
  if (!session) return failed(session.error());
  const std::string model = platform::ModelOf(settings_).provider + "/" + loop_options_.model;
  if (auto started = record_->Append(record::RunStarted(model, options_.message)); !started)
    return failed(started.error());
  const agent::ToolSet tools = agent::SandboxTools();
  return agent::RunLoop(
      loop_options_,
      {.provider = *provider_,
       .tools = tools,
       .session = *session,
       .record = *record_,
       .sandbox = [this] { return MakeSandbox(); },
       .turn_ended = [this](std::int64_t turn) { return TurnEnded(turn); },
       .told_at_turn_end =
           [this](const std::string& path) { return view_ && view_->HasCheckpointsOf(path); },
       .progress = [this](const agent::Progress& progress) { Report(progress); }},
      options_.message);
}

Result<sandbox::Sandbox*> Run::State::MakeSandbox() {
  if (sandbox_ != nullptr) return sandbox_.get();
  const auto start = SteadyClock::now();
  ASSIGN_OR_RETURN(sandbox::Launcher * launcher, workspace_->platform().Launcher());
  RETURN_IF_ERROR(MountWorkspace(*launcher));
  ASSIGN_OR_RETURN(sandbox_plan_, platform::SandboxPlan::For(sandbox_spec_));
  sandbox_plan_.in_use = view_->view();
  sandbox_ = workspace_->platform().kept().Take({workspace_->id(), session()}, sandbox_plan_,
                                                loop_options_.deadline);
  const bool resumed = sandbox_ != nullptr;
  if (!resumed) {
    ASSIGN_OR_RETURN(
        sandbox_, sandbox::LocalSandbox::Create(*launcher, sandbox_spec_, loop_options_.deadline));
  }
  member_.emplace(view_->Join(*sandbox_));
  disk_.emplace(disk_plan_->Guard(*sandbox_));
  const std::chrono::duration<double, std::milli> ready = SteadyClock::now() - start;
  result_.sandbox_ready_ms = ready.count();
  const auto recorded = record_->AppendGroup(SandboxEvents(
      *sandbox_, resumed, static_cast<std::int64_t>(ready.count()), disk_plan_->ForRecord()));
  if (!recorded) return std::unexpected(recorded.error().With("writing the record"));
  Publish(SandboxReadyEvent{sandbox_->id(), ready.count(), resumed});
  return sandbox_.get();
}

// What a run finds that no checkpoint has is what a rewind to before the run needs.
Status Run::State::MountWorkspace(sandbox::Launcher& launcher) {
  ASSIGN_OR_RETURN(auto view,
                   platform::ViewUse::Begin(*workspace_, view_choice_, stop_.get_token()));
  view_.emplace(std::move(view));
  ASSIGN_OR_RETURN(disk_plan_, platform::DiskPlan::Prepare(*workspace_, settings_, sandbox_spec_));
  RETURN_IF_ERROR(view_->PutInto(sandbox_spec_, *disk_plan_, launcher));
  if (const auto recorded = record_->Append(view_->Opened()); !recorded)
    return std::unexpected(recorded.error().With("writing the record"));
  return TakeCheckpoint("start", 0);
}

Status Run::State::TurnEnded(std::int64_t turn) {
  if (sandbox_ == nullptr) return {};
  RETURN_IF_ERROR(disk_->Check());
  return TakeCheckpoint("turn", turn);
}

Status Run::State::TakeCheckpoint(const std::string& reason, std::int64_t turn) {
  ASSIGN_OR_RETURN(
      const platform::OpenView::Outcome outcome,
      view_->Take({.reason = reason, .session = session(), .run = id(), .turn = turn}));
  if (!outcome.taken.checkpoint) return {};
  if (const auto recorded = record_->AppendGroup(platform::CheckpointEvents(outcome)); !recorded)
    return std::unexpected(recorded.error().With("writing the record"));
  Publish(platform::PublicCheckpoint(outcome));
  return {};
}

// What the turn that failed, or a process beside the tools, has changed.
void Run::State::TakeLastCheckpoint(agent::LoopResult& loop) {
  if (!view_ || !result_.sandbox_ready_ms) return;
  const Status taken = TakeCheckpoint("turn", loop.turn);
  if (taken || loop.error) return;
  static_cast<void>(record_->Append(
      record::ErrorHappened(ErrorCodeName(taken.error().code), taken.error().message)));
  loop.error = taken.error();
}

// The run may be asked for its result long after; others want to use its files.
void Run::State::LetGoOfWorkspace() {
  sandbox_.reset();
  sandbox_spec_ = {};
  sandbox_plan_ = {};
  view_.reset();
}

void Run::State::EndOrKeepSandbox() {
  const std::chrono::seconds idle(settings_.keep_sandbox_s.value_or(0));
  if (sandbox_ == nullptr) return;
  disk_.reset();
  // What was denied belongs to this run alone.
  const bool keep = idle > std::chrono::seconds::zero() && !options_.audit_syscalls;
  // A record that takes no more events takes no run.ended either, and that is the run's error.
  static_cast<void>(record_->AppendGroup(keep ? KeepSandbox(idle) : EndSandbox()));
}

std::vector<record::NewEvent> Run::State::EndSandbox() {
  sandbox_->Kill();
  member_.reset();
  result_.denied_calls = platform::PublicDeniedCalls(sandbox_->denied_calls());
  return {record::SandboxEnded(sandbox_->id(), UseOf(*sandbox_))};
}

std::vector<record::NewEvent> Run::State::KeepSandbox(std::chrono::seconds idle) {
  const std::string sandbox = sandbox_->id();
  const auto use = UseOf(*sandbox_);
  member_.reset();
  const Status kept =
      workspace_->platform().kept().Keep({workspace_->id(), session()}, std::move(sandbox_plan_),
                                         std::move(sandbox_), SteadyClock::now() + idle);
  if (kept) return {record::SandboxKept(sandbox, "")};
  return {record::SandboxKept(sandbox, kept.error().message), record::SandboxEnded(sandbox, use)};
}

void Run::State::Report(const agent::Progress& progress) {
  Publish(std::visit([](const auto& event) { return PublicEvent(event); }, progress));
}

void Run::State::Publish(RunEvent event) {
  if (options_.on_event) options_.on_event(event);
  events_.Push(std::move(event));
}

void Run::State::Finish(agent::LoopResult loop, std::chrono::milliseconds duration) {
  result_.text = std::move(loop.text);
  result_.usage = UsageOf(loop.usage);
  result_.turns = loop.model_calls;
  result_.error = std::move(loop.error);
  result_.outcome = OutcomeOf(result_.error);
  std::vector<record::NewEvent> events;
  if (options_.audit_syscalls && sandbox_ != nullptr)
    events.push_back(platform::DeniedCallsEvent(id(), result_.denied_calls));
  events.push_back(record::RunEnded(
      {.outcome = RunOutcomeName(result_.outcome),
       .usage = {result_.usage.input_tokens, result_.usage.output_tokens,
                 result_.usage.cache_read_tokens, result_.usage.cache_write_tokens},
       .model_calls = loop.model_calls,
       .tool_calls = loop.tool_calls,
       .milliseconds = duration.count()}));
  const auto ended = record_->AppendGroup(std::move(events));
  // A run whose end is not on record has not completed, whatever the agent said.
  if (!ended && !result_.error) {
    result_.error = ended.error().With("writing the record");
    result_.outcome = RunOutcome::kFailed;
  }
  result_.record_head = record_->head().hash;
}

const RunResult& Run::State::Wait() {
  done_.wait();
  return result_;
}

Run::Run(std::unique_ptr<State> state) : state_(std::move(state)) {}

Run::~Run() = default;

const std::string& Run::id() const { return state_->id(); }

const std::string& Run::session() const { return state_->session(); }

Run::EventStream Run::Events() { return EventStream(state_.get()); }

void Run::Cancel() { state_->Cancel(); }

const RunResult& Run::Wait() { return state_->Wait(); }

Run::EventStream::Iterator& Run::EventStream::Iterator::operator++() {
  event_ = state_->events().Next();
  return *this;
}

}  // namespace cofferdam
