#include "worker/huge_text.h"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <span>

#include "base/check.h"

namespace cofferdam::worker {
namespace {

constexpr std::uintptr_t kHugePage = 2 << 20;
constexpr std::uintptr_t kPage = 4096;

struct Range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

std::uintptr_t PageAbove(std::uintptr_t address) { return (address + kPage - 1) / kPage * kPage; }

// The whole huge pages from the program's start that hold nothing that can be written, and no hole.
Range HugePagesOfText() {
  // The addresses of a program without relocation are those in its headers.
  const std::span headers(reinterpret_cast<const ElfW(Phdr)*>(::getauxval(AT_PHDR)),
                          ::getauxval(AT_PHNUM));
  Range range;
  for (const auto& header : headers) {
    if (header.p_type != PT_LOAD) continue;
    if (range.begin == 0) range = {header.p_vaddr, header.p_vaddr};
    if (header.p_vaddr != range.end || (header.p_flags & PF_W) != 0) break;
    range.end = PageAbove(header.p_vaddr + header.p_memsz);
  }
  if (range.begin % kHugePage != 0) return {};
  range.end = range.end / kHugePage * kHugePage;
  return range;
}

}  // namespace

void MoveTextToHugePages() {
  const Range text = HugePagesOfText();
  const std::size_t size = text.end - text.begin;
  if (text.begin == 0 || size == 0) return;
  void* const room =
      ::mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return;
  const auto start = reinterpret_cast<std::uintptr_t>(room);
  const std::uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  void* const copy = reinterpret_cast<void*>(aligned);  // NOLINT
  ::munmap(room, aligned - start);
  ::munmap(reinterpret_cast<void*>(aligned + size), kHugePage - (aligned - start));  // NOLINT
  if (::madvise(copy, size, MADV_HUGEPAGE) != 0) {
    ::munmap(copy, size);
    return;
  }
  std::memcpy(copy, reinterpret_cast<const void*>(text.begin), size);  // NOLINT
  CHECK(::mprotect(copy, size, PROT_READ | PROT_EXEC) == 0);
  // One call takes the old away and puts the same code in its place, the code of this very line
  // too.
  CHECK(::mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
                 reinterpret_cast<void*>(text.begin)) != MAP_FAILED);  // NOLINT
}

}  // namespace cofferdam::worker
