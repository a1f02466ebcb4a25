// cofferdam run: gives an agent a message and shows its work.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "cli/terminal.h"

namespace cofferdam::cli {
namespace {

constexpr std::size_t kArgumentColumns = 72;

struct RunFlags {
  std::string workspace = {};
  RunOptions options = {};
};

json::Json ToJson(const RunUsage& usage) {
  return {{"input_tokens", usage.input_tokens},
          {"output_tokens", usage.output_tokens},
          {"cache_read_tokens", usage.cache_read_tokens},
          {"cache_write_tokens", usage.cache_write_tokens}};
}

json::Json ToJson(const RunResult& result, bool audit_syscalls) {
  json::Json object = {{"event", "result"},
                       {"run", result.run_id},
                       {"session", result.session},
                       {"outcome", RunOutcomeName(result.outcome)},
                       {"text", result.text},
                       {"usage", ToJson(result.usage)},
                       {"turns", result.turns},
                       {"folder", result.folder},
                       {"record_head", result.record_head}};
  if (result.queued_ms) object["queued_ms"] = *result.queued_ms;
  if (result.sandbox_ready_ms) object["sandbox_ready_ms"] = *result.sandbox_ready_ms;
  if (audit_syscalls) object["denied_calls"] = cli::ToJson(result.denied_calls);
  if (result.error) object["error"] = cli::ToJson(*result.error);
  return object;
}

/// Says a run's events as lines of JSON.
class JsonView {
 public:
  explicit JsonView(bool audit_syscalls) : audit_syscalls_(audit_syscalls) {}

  void operator()(const TextEvent& event) const { Print("text", {{"text", event.text}}); }
  void operator()(const ThinkingEvent& event) const { Print("thinking", {{"text", event.text}}); }
  void operator()(const QueuedEvent&) const { Print("queued", json::Json::object()); }
  void operator()(const SandboxReadyEvent& event) const {
    Print("sandbox_ready", {{"sandbox", event.sandbox_id},
                            {"milliseconds", event.milliseconds},
                            {"resumed", event.resumed}});
  }
  void operator()(const ToolStartedEvent& event) const {
    const auto arguments = json::Parse(event.arguments);
    Print("tool_started", {{"id", event.call_id},
                           {"tool", event.tool},
                           {"arguments", arguments ? *arguments : json::Json::object()}});
  }
  void operator()(const ToolEndedEvent& event) const {
    Print("tool_ended", {{"id", event.call_id},
                         {"tool", event.tool},
                         {"is_error", event.is_error},
                         {"content", event.content},
                         {"milliseconds", event.milliseconds}});
  }
  void operator()(const CheckpointEvent& event) const {
    Print("checkpoint", {{"checkpoint", event.checkpoint},
                         {"turn", event.turn},
                         {"changed", event.changed},
                         {"left_out", event.left_out}});
  }
  void End(const RunResult& result) const { PrintJson(ToJson(result, audit_syscalls_)); }

 private:
  static void Print(const char* name, json::Json fields) {
    fields["event"] = name;
    PrintJson(fields);
  }

  bool audit_syscalls_;
};

/// Shows a run to a person: the agent's words on standard output as they come, everything else on
/// standard error, one line for each tool.
class PersonView {
 public:
  explicit PersonView(bool audit_syscalls) : audit_syscalls_(audit_syscalls) {}

  void operator()(const TextEvent& event) {
    const std::string text = to_terminal_ ? ForTerminal(event.text) : event.text;
    std::cout << text << std::flush;
    if (!text.empty()) line_is_open_ = text.back() != '\n';
  }
  void operator()(const ThinkingEvent&) {}
  void operator()(const QueuedEvent&) { std::cerr << "  waits for a slot\n"; }
  void operator()(const SandboxReadyEvent& event) {
    CloseLine();
    std::cerr << "  sandbox " << (event.resumed ? "awake" : "ready") << " in "
              << Duration(event.milliseconds) << '\n';
  }
  void operator()(const ToolStartedEvent& event) {
    arguments_[event.call_id] = OneLine(event.arguments, kArgumentColumns);
  }
  void operator()(const ToolEndedEvent& event) {
    CloseLine();
    std::cerr << "  " << OneLine(event.tool, 32) << ' ' << arguments_[event.call_id] << "  "
              << (event.is_error ? "failed, " : "") << Duration(event.milliseconds) << '\n';
    arguments_.erase(event.call_id);
  }
  void operator()(const CheckpointEvent& event) {
    CloseLine();
    std::cerr << "  checkpoint " << event.checkpoint << ": "
              << (event.turn == 0 ? "before the run" : "turn " + std::to_string(event.turn)) << ", "
              << event.changed << (event.changed == 1 ? " path" : " paths") << " changed\n";
    for (const std::string& path : event.left_out)
      std::cerr << "  not kept: " << OneLine(path, kArgumentColumns) << '\n';
  }
  void End(const RunResult& result) {
    CloseLine();
    std::cerr << "  " << RunOutcomeName(result.outcome) << ": session " << result.session
              << ", run " << result.run_id << ", "
              << result.usage.input_tokens + result.usage.cache_read_tokens +
                     result.usage.cache_write_tokens
              << " tokens in, " << result.usage.output_tokens << " out\n";
    if (audit_syscalls_) PrintDeniedCalls(result.denied_calls);
  }

 private:
  void CloseLine() {
    if (line_is_open_) std::cout << '\n' << std::flush;
    line_is_open_ = false;
  }

  bool audit_syscalls_;
  const bool to_terminal_ = ::isatty(STDOUT_FILENO) == 1;
  bool line_is_open_ = false;
  std::map<std::string, std::string> arguments_;
};

template <typename View>
const RunResult& Watch(cofferdam::Run& run, View view) {
  for (const RunEvent& event : run.Events()) std::visit(view, event);
  const RunResult& result = run.Wait();
  view.End(result);
  return result;
}

Result<int> RunAgent(const Program& program, const RunFlags& flags) {
  ASSIGN_OR_RETURN(Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const auto run, workspace.Run(flags.options));
  const std::stop_callback cancel(program.stop, [&run] { run->Cancel(); });
  const RunResult& result = program.json ? Watch(*run, JsonView(flags.options.audit_syscalls))
                                         : Watch(*run, PersonView(flags.options.audit_syscalls));
  if (!result.error) return kExitOk;
  // With --json the result has said it.
  if (!program.json) PrintError(program, *result.error);
  return ExitCodeFor(*result.error);
}

}  // namespace

void AddRunCommand(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("run", "Give an agent a message and show its work");
  const auto flags = std::make_shared<RunFlags>();
  command->add_option("-m,--message", flags->options.message, "What the agent is to do");
  AddWorkspaceFlag(*command, flags->workspace);
  command->add_option("-s,--session", flags->options.session,
                      "Go on in this session, or begin one of this name; without it a new one");
  command->add_option("--script", flags->options.script,
                      "What the provider 'scripted' plays (docs/scripted-provider.md)");
  AddAuditFlag(*command, flags->options.audit_syscalls);
  AddSettingFlags(*command, flags->options.settings);
  AddRunVerifyCommand(*command, program);
  command->callback([command, flags, &program] {
    if (!command->get_subcommands().empty()) return;
    if (flags->options.message.empty()) throw CLI::RequiredError("--message");
    program.action = [flags, &program] { return RunAgent(program, *flags); };
  });
}

}  // namespace cofferdam::cli
