// What the attack program is made of: named functions, each of which tries one forbidden thing and
// says how it went. The program prints "succeeded" or "errno NAME"; a signal speaks for itself.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>

namespace cofferdam::attacks {

/// 0, or the errno with which the attack was refused.
struct Outcome {
  int error_number = 0;
};

/// The outcome of a system call that returned `result`.
inline Outcome Of(long result) { return {result < 0 ? errno : 0}; }

using Arguments = std::span<char* const>;

struct Attack {
  const char* name;
  Outcome (*run)(Arguments arguments);
  std::size_t argument_count = 0;
};

std::span<const Attack> ExhaustionAttacks();
std::span<const Attack> FileAttacks();
std::span<const Attack> KernelAttacks();
std::span<const Attack> NetworkAttacks();
std::span<const Attack> ProcessAttacks();
std::span<const Attack> ResourceAttacks();
std::span<const Attack> SharingAttacks();
std::span<const Attack> TenantAttacks();

/// Sends so many copies of a descriptor, at most 250, in one message.
Outcome SendCopies(int socket, int descriptor, std::size_t count);

/// Prints an outcome and flushes, for attacks that go on afterwards.
void Print(Outcome outcome);

}  // namespace cofferdam::attacks
