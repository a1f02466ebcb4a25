#include "agent/bash_tool.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/id.h"
#include "crypto/hex.h"
#include "crypto/sha256.h"

namespace cofferdam::agent {
namespace {

/// How much of a command's output is held, and then kept for the agent to read.
constexpr std::size_t kMaxKeptBytes = 8 << 20;
/// One write to the sandbox.
constexpr std::size_t kWriteChunkBytes = 1 << 20;
constexpr std::int64_t kMaxTimeoutSeconds = std::int64_t{24} * 60 * 60;

/// Words for a duration: "2.5 s".
std::string Seconds(std::chrono::milliseconds duration) {
  std::string text = std::to_string(duration.count() / 1000);
  if (const auto tenths = duration.count() % 1000 / 100; tenths != 0)
    text += "." + std::to_string(tenths);
  return text + " s";
}

/// Writes what was kept of the output to where the agent can read it.
Status KeepOutput(const ToolContext& context, sandbox::Sandbox& sandbox, const std::string& path,
                  const std::string& bytes) {
  const std::string_view whole = bytes;
  for (std::size_t at = 0; at == 0 || at < whole.size(); at += kWriteChunkBytes)
    RETURN_IF_ERROR(sandbox.Write({.path = path,
                                   .bytes = std::string(whole.substr(at, kWriteChunkBytes)),
                                   .create_parents = true,
                                   .append = at > 0},
                                  context.stop));
  return {};
}

class BashTool final : public Tool {
 public:
  BashTool()
      : Tool("bash",
             "Runs a command with bash (sh where there is no bash) in /workspace and answers with "
             "its output, standard error included, and its exit code. Every process that it "
             "leaves behind ends with it. Output beyond 2000 lines or 50 KB is cut in the middle "
             "and kept whole in a file.",
             {{.name = "command", .description = "The command line.", .required = true},
              {.name = "timeout",
               .type = ParameterType::kInteger,
               .description = "Seconds after which it is killed. Default, and the most: what the "
                              "workspace allows (300 unless set).",
               .min = 1,
               .max = kMaxTimeoutSeconds}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    const auto most = context.limits.command_timeout;
    const std::chrono::seconds wanted(arguments.IntegerOr("timeout", most.count()));
    if (wanted > most)
      return ErrorOutcome("timeout may be at most " + std::to_string(most.count()) +
                          " here; the command was not run");
    const std::string& command = arguments.String("command");
    if (command.find('\0') != std::string::npos)
      return ErrorOutcome("a command cannot hold a NUL character; it was not run");
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    ASSIGN_OR_RETURN(const auto bash, sandbox->Stat("/bin/bash"));

    const std::chrono::milliseconds timeout =
        std::min<std::chrono::milliseconds>(wanted, context.deadline.Remaining());
    OutputCollector output(context.limits.text, kMaxKeptBytes);
    sandbox::ExecRequest request;
    request.argv = {bash ? "/bin/bash" : "/bin/sh", "-c", command};
    // Zero would mean no limit at all.
    request.timeout = std::max(timeout, std::chrono::milliseconds(1));
    const auto collect = [&output](sandbox::OutputStream, std::string_view piece) {
      output.Append(piece);
    };
    ASSIGN_OR_RETURN(const sandbox::ExecResult result,
                     sandbox->Exec(request, collect, context.stop));
    return Report(context, *sandbox, output, result, timeout);
  }

  static ToolOutcome Report(const ToolContext& context, sandbox::Sandbox& sandbox,
                            const OutputCollector& output, const sandbox::ExecResult& result,
                            std::chrono::milliseconds timeout) {
    ToolOutcome outcome{.content = {},
                        .is_error = result.exit_code != 0 || result.timed_out || result.cancelled,
                        .exit_code = result.exit_code};
    const std::string path = ResultPath(context.run_id, context.call_id);
    CutText shown = output.Middle("; the whole output is in " + path);
    if (shown.cut()) {
      const Status kept = KeepOutput(context, sandbox, path, output.Kept());
      if (!kept) shown = output.Middle("; it could not be kept: " + kept.error().message);
    }
    outcome.content = std::move(shown.text);
    const std::string end = DescribeEnd(result, context.limits, timeout);
    if (!end.empty() && !outcome.content.empty() && outcome.content.back() != '\n')
      outcome.content += '\n';
    outcome.content += end;
    if (outcome.content.empty()) outcome.content = "[no output]\n";
    return outcome;
  }
};

std::string SignalName(int signal) {
  const char* description = ::sigdescr_np(signal);
  return std::to_string(signal) + (description == nullptr ? "" : std::string(", ") + description);
}

/// An id as one file name that leads nowhere else.
std::string SafeName(std::string_view id) {
  if (IsName(id)) return std::string(id);
  return "id-" + crypto::HexEncode(crypto::Sha256(id)).substr(0, 32);
}

}  // namespace

std::string ResultPath(std::string_view run_id, std::string_view call_id) {
  return "/home/agent/.cofferdam/results/" + SafeName(run_id) + "/" + SafeName(call_id) + ".txt";
}

std::string DescribeEnd(const sandbox::ExecResult& result, const ToolLimits& limits,
                        std::chrono::milliseconds timeout) {
  std::string text;
  if (result.timed_out)
    text += "[killed after " + Seconds(timeout) + ", its timeout; all its processes are gone]\n";
  else if (result.cancelled)
    text += "[cancelled; all its processes are gone]\n";
  else if (result.signal != 0)
    text += "[ended by signal " + SignalName(result.signal) + "]\n";
  else if (result.exit_code != 0)
    text += "[exit code " + std::to_string(result.exit_code) + "]\n";
  if (result.out_of_memory) {
    text += "[the sandbox ran out of memory and processes were killed for it";
    if (limits.memory_bytes > 0)
      text += "; the limit is " + std::to_string(limits.memory_bytes >> 20) + " MiB";
    text += "]\n";
  }
  if (result.out_of_processes) {
    text += "[the sandbox's process limit was reached and new processes were refused";
    if (limits.max_processes > 0) text += "; the limit is " + std::to_string(limits.max_processes);
    text += "]\n";
  }
  return text;
}

std::unique_ptr<Tool> NewBashTool() { return std::make_unique<BashTool>(); }

}  // namespace cofferdam::agent
