// cofferdam-worker: started by the host from its own image with one socket, as the launcher. Its
// clones are the sandboxes' tool servers.

#include "worker/huge_text.h"
#include "worker/launcher.h"

int main() {
  constexpr int kHostSocket = 3;
  cofferdam::worker::MoveTextToHugePages();
  cofferdam::worker::RunLauncher(kHostSocket);
  return 0;
}
