// A build step: writes the compiled filters of every profile and architecture as C++ arrays. System
// call numbers come from libseccomp, which knows them for architectures that this is not built on.

#include <linux/audit.h>
#include <seccomp.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sandbox/layers/seccomp/compiler.h"

namespace cofferdam::sandbox::seccomp {
namespace {

std::vector<NumberedRule> Number(const std::vector<Rule>& rules, std::uint32_t libseccomp_arch) {
  std::vector<NumberedRule> numbered;
  for (const Rule& rule : rules) {
    const int number = seccomp_syscall_resolve_name_arch(libseccomp_arch, rule.syscall.c_str());
    if (number == __NR_SCMP_ERROR) {
      std::fprintf(stderr, "the seccomp policy names an unknown system call: %s\n",
                   rule.syscall.c_str());
      std::exit(1);
    }
    // Other negative numbers: the architecture does not have the call.
    if (number >= 0) numbered.push_back({static_cast<std::uint32_t>(number), &rule});
  }
  return numbered;
}

void Print(const char* name, std::uint32_t audit_arch, std::uint32_t libseccomp_arch) {
  const std::vector<Rule> rules = ToolProfile();
  const auto program = Compile(audit_arch, Number(rules, libseccomp_arch), Fail(ENOSYS));
  std::printf("inline constexpr sock_filter %s[] = {\n", name);
  for (const sock_filter& instruction : program)
    std::printf("    {0x%04x, %u, %u, 0x%08x},\n", instruction.code, instruction.jt, instruction.jf,
                instruction.k);
  std::printf("};\n");
}

}  // namespace
}  // namespace cofferdam::sandbox::seccomp

int main() {
  using cofferdam::sandbox::seccomp::Print;
  std::printf("// Made by generate.cc from policy.cc.\n");
  Print("kToolFilterX86_64", AUDIT_ARCH_X86_64, SCMP_ARCH_X86_64);
  Print("kToolFilterAarch64", AUDIT_ARCH_AARCH64, SCMP_ARCH_AARCH64);
}
