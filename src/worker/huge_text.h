// The launcher's code in huge pages. A fork gets a file's pages one fault after the other; one huge
// page of memory is there at once. Every sandbox is a fork, and so is every operation in it.
#pragma once

namespace cofferdam::worker {

/// Moves the program's code, as far as it lies in whole huge pages, into memory of its own. Does
/// nothing where the kernel has no huge pages or the program is laid out differently: the program
/// runs as before then, only slower. Before any other thread is there.
void MoveTextToHugePages();

}  // namespace cofferdam::worker
