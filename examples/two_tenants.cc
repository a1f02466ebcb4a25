// Two tenants on one platform: what one writes, the other cannot see.
#include <cofferdam/platform.h>

#include <cstdio>
#include <iostream>
#include <string>

namespace {

// The output of a shell line in a workspace's sandbox; ends the program when there is no sandbox.
std::string Shell(cofferdam::Workspace& workspace, const std::string& line) {
  std::string output;
  const auto outcome = workspace.Exec({.argv = {"/bin/sh", "-c", line}},
                                      [&](bool, std::string_view bytes) { output += bytes; }, {});
  if (!outcome) {
    std::cerr << outcome.error().ToString() << "\n";
    std::exit(1);
  }
  return output;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: two_tenants STATE-DIRECTORY\n", 2;
  auto platform = cofferdam::Platform::Open({.state = argv[1]});
  if (!platform) return std::cerr << platform.error().ToString() << "\n", 1;
  auto alice = platform->CreateWorkspace("alice");
  auto bob = platform->CreateWorkspace("bob");
  if (!alice || !bob) return std::cerr << "cannot make the workspaces\n", 1;

  Shell(*alice, "echo 'for my eyes only' > /workspace/note; echo x > /tmp/note");
  std::cout << "alice reads: " << Shell(*alice, "cat /workspace/note");
  std::cout << "bob looks:   "
            << Shell(*bob, "ls -A /workspace /tmp; find / -name note 2>/dev/null; echo nothing");
  return Shell(*bob, "find / -name note 2>/dev/null").empty() ? 0 : 1;
}
