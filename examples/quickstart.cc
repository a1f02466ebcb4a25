// An agent does one piece of work in a sandbox, in the user's own workspace.
#include <cofferdam/platform.h>

#include <iostream>

int main() {
  auto runtime = cofferdam::Runtime::Open({});
  if (!runtime) return std::cerr << runtime.error().ToString() << "\n", 1;

  auto run = runtime->workspace().Run({.message = "What is in this folder?"});
  if (!run) return std::cerr << run.error().ToString() << "\n", 1;

  for (const cofferdam::RunEvent& event : (*run)->Events())
    if (const auto* text = std::get_if<cofferdam::TextEvent>(&event)) std::cout << text->text;

  const cofferdam::RunResult& result = (*run)->Wait();
  std::cout << "\n"
            << cofferdam::RunOutcomeName(result.outcome) << ", record " << result.record_head
            << "\n";
  return result.outcome == cofferdam::RunOutcome::kCompleted ? 0 : 1;
}
