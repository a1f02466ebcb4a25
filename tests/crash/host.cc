// A host that outlives its runs: plays one run after the other, for each line "SESSION MESSAGE" of
// its standard input, and says what happens as `cofferdam run --json` does. At the end of its input
// it leaves as an application would.
//
//   crash_host STATE SCRIPT
#include <iostream>
#include <map>
#include <string>

#include <cofferdam/platform.h>

#include "json/json.h"

namespace cofferdam::crash {
namespace {

void Say(const json::Json& event) {
  std::cout << json::Dump(event) << '\n';
  std::cout.flush();
}

struct Speaker {
  void operator()(const QueuedEvent&) const {}
  void operator()(const TextEvent&) const {}
  void operator()(const ThinkingEvent&) const {}
  void operator()(const SandboxReadyEvent& event) const {
    Say({{"event", "sandbox_ready"}, {"sandbox", event.sandbox_id}});
  }
  void operator()(const ToolStartedEvent& event) const {
    Say({{"event", "tool_started"}, {"id", event.call_id}, {"tool", event.tool}});
  }
  void operator()(const ToolEndedEvent& event) const {
    Say({{"event", "tool_ended"},
         {"id", event.call_id},
         {"tool", event.tool},
         {"is_error", event.is_error},
         {"content", event.content}});
  }
  void operator()(const CheckpointEvent& event) const {
    Say({{"event", "checkpoint"}, {"checkpoint", event.checkpoint}});
  }
};

json::Json ResultOf(const RunResult& result) {
  json::Json object = {
      {"event", "result"}, {"outcome", RunOutcomeName(result.outcome)}, {"text", result.text}};
  if (result.error)
    object["error"] = {{"code", ErrorCodeName(result.error->code)},
                       {"message", result.error->message}};
  return object;
}

int Serve(const std::string& state, const std::string& script) {
  auto platform = Platform::Open({.state = state, .settings = {.provider = "scripted"}});
  if (!platform) return std::cerr << platform.error().ToString() << '\n', 1;
  auto workspace = platform->GetWorkspace("alice");
  if (!workspace) return std::cerr << workspace.error().ToString() << '\n', 1;
  std::string session;
  std::string message;
  while (std::cin >> session && std::getline(std::cin >> std::ws, message)) {
    auto run = workspace->Run({.message = message, .session = session, .script = script});
    if (!run) return std::cerr << run.error().ToString() << '\n', 1;
    for (const RunEvent& event : (*run)->Events()) std::visit(Speaker(), event);
    Say(ResultOf((*run)->Wait()));
  }
  return 0;
}

}  // namespace
}  // namespace cofferdam::crash

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: crash_host STATE SCRIPT\n", 2;
  return cofferdam::crash::Serve(argv[1], argv[2]);
}
