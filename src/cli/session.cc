// cofferdam session: list, show.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "cli/terminal.h"
#include "model/message.h"
#include "sessions/transcript.h"

namespace cofferdam::cli {
namespace {

constexpr std::size_t kResultColumns = 200;

struct SessionFlags {
  std::string workspace = {};
  std::string session = {};
};

Result<int> List(const Program& program, const SessionFlags& flags) {
  ASSIGN_OR_RETURN(const Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const std::vector<SessionInfo> sessions, workspace.Sessions());
  json::Json list = json::Json::array();
  for (const SessionInfo& session : sessions) {
    list.push_back({{"id", session.id},
                    {"created", session.created},
                    {"last", session.last},
                    {"entries", session.entries},
                    {"problem", session.problem}});
    if (!program.json)
      std::cout << session.id << "  " << session.last << "  " << session.entries << " entries"
                << (session.problem.empty() ? "" : "  damaged: " + session.problem) << '\n';
  }
  if (program.json) PrintJson({{"sessions", std::move(list)}});
  return kExitOk;
}

struct BlockPrinter {
  model::Role role;
  void operator()(const model::Text& text) const {
    std::cout << (role == model::Role::kUser ? "user: " : "agent: ") << ForTerminal(text.text)
              << '\n';
  }
  void operator()(const model::Thinking&) const {}
  void operator()(const model::Image& image) const {
    std::cout << "image: " << OneLine(image.media_type, kResultColumns) << '\n';
  }
  void operator()(const model::ToolCall& call) const {
    std::cout << "  " << OneLine(call.name, kResultColumns) << ' '
              << OneLine(json::Dump(call.arguments), kResultColumns) << '\n';
  }
  void operator()(const model::ToolResult& result) const {
    std::cout << (result.is_error ? "  failed: " : "  result: ")
              << OneLine(model::TextOf(result), kResultColumns) << '\n';
  }
};

Status ShowEntry(const std::string& text) {
  ASSIGN_OR_RETURN(const json::Json entry, json::Parse(text, sessions::kLineLimits));
  const auto stored = entry.find("message");
  if (stored == entry.end()) return {};
  ASSIGN_OR_RETURN(const model::Message message, model::MessageFromJson(*stored));
  for (const model::ContentBlock& block : message.content)
    std::visit(BlockPrinter{message.role}, block);
  return {};
}

Result<int> Show(const Program& program, const SessionFlags& flags) {
  ASSIGN_OR_RETURN(const Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const std::vector<std::string> entries, workspace.ReadSession(flags.session));
  for (const std::string& entry : entries)
    if (program.json)
      std::cout << entry << '\n';
    else
      RETURN_IF_ERROR(ShowEntry(entry));
  return kExitOk;
}

}  // namespace

void AddSessionCommand(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("session", "List and show conversations");
  command->require_subcommand(1);
  const auto flags = std::make_shared<SessionFlags>();
  CLI::App* list = command->add_subcommand("list", "A workspace's sessions");
  AddWorkspaceFlag(*list, flags->workspace);
  list->callback(
      [flags, &program] { program.action = [flags, &program] { return List(program, *flags); }; });
  CLI::App* show = command->add_subcommand("show", "A session's transcript");
  show->add_option("session", flags->session, "The session")->required();
  AddWorkspaceFlag(*show, flags->workspace);
  show->callback(
      [flags, &program] { program.action = [flags, &program] { return Show(program, *flags); }; });
}

}  // namespace cofferdam::cli
