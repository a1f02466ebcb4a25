// Every run leaves a record whose events are chained by hashes. This one makes a run, checks its
// record, changes one byte of it, and checks again.
#include <cofferdam/platform.h>

#include <filesystem>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: verify_record STATE-DIRECTORY\n", 2;
  auto runtime = cofferdam::Runtime::Open({.state = argv[1]});
  if (!runtime) return std::cerr << runtime.error().ToString() << "\n", 1;
  auto run = runtime->workspace().Run({.message = "Hello"});
  if (!run) return std::cerr << run.error().ToString() << "\n", 1;
  const cofferdam::RunResult result = (*run)->Wait();

  const auto intact = runtime->workspace().VerifyRun(result.run_id);
  if (!intact) return std::cerr << intact.error().ToString() << "\n", 1;
  std::cout << intact->events << " events, head " << intact->head << "\n";

  std::fstream record(std::filesystem::path(result.folder) / "events.jsonl",
                      std::ios::in | std::ios::out);
  record.seekp(400);
  record.put('#');
  record.close();
  const auto changed = runtime->workspace().VerifyRun(result.run_id);
  if (changed) return std::cerr << "a changed record was taken for intact\n", 1;
  std::cout << "after a change: " << changed.error().message << "\n";
  return 0;
}
