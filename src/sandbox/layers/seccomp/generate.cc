// A build step: writes as C++ arrays the compiled filters of every machine and profile, or with
// "syscalls" the names of all calls. Numbers and names come from libseccomp, which knows them for
// machines that this is not built on.

#include <linux/audit.h>
#include <seccomp.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sandbox/layers/seccomp/compiler.h"

namespace cofferdam::sandbox::seccomp {
namespace {

struct Target {
  const char* machine;  // an enumerator of Machine
  std::uint32_t audit_arch;
  std::uint32_t libseccomp_arch;
};
constexpr Target kTargets[] = {{"kX86_64", AUDIT_ARCH_X86_64, SCMP_ARCH_X86_64},
                               {"kArm64", AUDIT_ARCH_AARCH64, SCMP_ARCH_AARCH64}};

struct Profile {
  const char* name;  // an enumerator of SeccompProfile
  SeccompProfile profile;
};
constexpr Profile kProfiles[] = {{"kTools", SeccompProfile::kTools},
                                 {"kHarness", SeccompProfile::kHarness}};

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

// An array, and its entry for the table of all.
std::string PrintFilter(const Target& target, const Profile& profile, const char* denials,
                        const std::vector<Rule>& rules, Action otherwise) {
  const std::string name = std::string(target.machine) + (profile.name + 1) + (denials + 1);
  std::printf("constexpr sock_filter %s[] = {\n", name.c_str());
  for (const sock_filter& instruction :
       Compile(target.audit_arch, Number(rules, target.libseccomp_arch), otherwise))
    std::printf("    {0x%04x, %u, %u, 0x%08x},\n", instruction.code, instruction.jt, instruction.jf,
                instruction.k);
  std::printf("};\n");
  return "    {Machine::" + std::string(target.machine) + ", SeccompProfile::" + profile.name +
         ", Denials::" + denials + ", " + name + "},\n";
}

void PrintFilters() {
  std::string table;
  for (const Target& target : kTargets) {
    for (const Profile& profile : kProfiles) {
      const std::vector<Rule> rules = Policy(profile.profile);
      table += PrintFilter(target, profile, "kAnswered", rules, Fail(ENOSYS));
      table += PrintFilter(target, profile, "kReported", WithDenialsReported(rules), Report());
    }
  }
  std::printf("constexpr CompiledFilter kFilters[] = {\n%s};\n", table.c_str());
}

// Which arguments some profile's rule for the call compares, but for ids; a bit for each.
unsigned DecidingArguments(std::string_view syscall) {
  unsigned arguments = 0;
  for (const Profile& profile : kProfiles)
    for (const Rule& rule : Policy(profile.profile))
      if (rule.syscall == syscall)
        for (const Check& check : rule.checks)
          for (const Condition& condition : check.all_of)
            if (!condition.is_id) arguments |= 1u << condition.argument;
  return arguments;
}

void PrintSyscalls() {
  constexpr int kNumbers = 1024;
  std::printf("constexpr SyscallInfo kSyscalls[] = {\n");
  for (const Target& target : kTargets) {
    for (int number = 0; number < kNumbers; ++number) {
      char* name = seccomp_syscall_resolve_num_arch(target.libseccomp_arch, number);
      if (name == nullptr) continue;
      std::printf("    {Machine::%s, %d, \"%s\", %u},\n", target.machine, number, name,
                  DecidingArguments(name));
      std::free(name);
    }
  }
  std::printf("};\n");
}

}  // namespace
}  // namespace cofferdam::sandbox::seccomp

int main(int argc, char** argv) {
  using namespace cofferdam::sandbox::seccomp;
  std::printf("// Made by generate.cc from policy.cc.\n");
  if (argc == 2 && std::string_view(argv[1]) == "syscalls")
    PrintSyscalls();
  else
    PrintFilters();
}
