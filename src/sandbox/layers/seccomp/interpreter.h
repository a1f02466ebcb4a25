// What a filter answers, found by running its instructions as the kernel does: how the host answers
// for a filter whose denials come to it, and how tests read bytes that they cannot install.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <cstring>
#include <span>

#include "base/check.h"

namespace cofferdam::sandbox::seccomp {

/// The SECCOMP_RET_* value for `data`, whatever that is. CHECKs that the program is one that the
/// compiler emits and the kernel would take.
inline std::uint32_t Interpret(std::span<const sock_filter> program, const seccomp_data& data) {
  std::uint32_t accumulator = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& instruction = program[at];
    switch (instruction.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        CHECK(instruction.k % 4 == 0 && instruction.k + 4 <= sizeof(data));
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + instruction.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= instruction.k;
        break;
      case BPF_JMP | BPF_JA:
        at += instruction.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == instruction.k ? instruction.jt : instruction.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= instruction.k ? instruction.jt : instruction.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > instruction.k ? instruction.jt : instruction.jf;
        break;
      case BPF_RET | BPF_K:
        return instruction.k;
      default:
        CHECK(false && "an instruction that the compiler does not emit");
    }
  }
  CHECK(false && "a path without a return");
}

}  // namespace cofferdam::sandbox::seccomp
