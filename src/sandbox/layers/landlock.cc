#include "sandbox/layers/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sys/fd.h"

namespace cofferdam::sandbox {
namespace {

// linux/landlock.h of Debian 12 ends at ABI 2; these are the kernel's numbers up to ABI 7
// (include/uapi/linux/landlock.h).
constexpr std::uint64_t kExecute = 1 << 0;
constexpr std::uint64_t kWriteFile = 1 << 1;
constexpr std::uint64_t kReadFile = 1 << 2;
constexpr std::uint64_t kReadDir = 1 << 3;
constexpr std::uint64_t kMakeChar = 1 << 6;
constexpr std::uint64_t kMakeBlock = 1 << 11;
constexpr std::uint64_t kRefer = 1 << 13;
constexpr std::uint64_t kTruncate = 1 << 14;
constexpr std::uint64_t kIoctlDev = 1 << 15;
constexpr std::uint64_t kAllOfAbi1 = (1 << 13) - 1;
constexpr std::uint64_t kScopeAbstractSockets = 1 << 0;
constexpr std::uint64_t kScopeSignals = 1 << 1;
constexpr std::uint32_t kCreateVersion = 1;
constexpr int kRulePathBeneath = 1;

struct RulesetAttributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};
struct __attribute__((packed)) PathBeneathAttributes {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
};

std::uint64_t HandledBy(int abi) {
  std::uint64_t rights = kAllOfAbi1;
  if (abi >= 2) rights |= kRefer;
  if (abi >= 3) rights |= kTruncate;
  if (abi >= 5) rights |= kIoctlDev;
  return rights;
}

std::uint64_t RightsFor(Access access, bool is_directory, std::uint64_t handled) {
  std::uint64_t rights = 0;
  switch (access) {
    case Access::kList:
      rights = kReadDir;
      break;
    case Access::kRead:
      rights = kExecute | kReadFile | kReadDir | kIoctlDev;
      break;
    case Access::kReadWrite:
      rights = ~(kMakeChar | kMakeBlock);
      break;
  }
  // The kernel refuses rights of directories on a file.
  if (!is_directory) rights &= kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDev;
  return rights & handled;
}

}  // namespace

int LandlockAbi() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateVersion);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

int LandlockRuleset::Create(int abi) {
  if (abi < 1) return EOPNOTSUPP;
  RulesetAttributes attributes{};
  attributes.handled_access_fs = handled_ = HandledBy(abi);
  if (abi >= 6) attributes.scoped = kScopeAbstractSockets | kScopeSignals;
  // Older kernels know a shorter struct and accept a longer one whose rest is zero.
  ruleset_ = sys::UniqueFd(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  return ruleset_.valid() ? 0 : errno;
}

int LandlockRuleset::Allow(const char* path, Access access) {
  const sys::UniqueFd fd(::open(path, O_PATH | O_CLOEXEC));
  if (!fd.valid()) return errno == ENOENT ? 0 : errno;
  return Allow(fd.get(), access);
}

int LandlockRuleset::Allow(int path, Access access) {
  struct stat info;
  if (::fstat(path, &info) != 0) return errno;
  PathBeneathAttributes attributes{};
  attributes.allowed_access = RightsFor(access, S_ISDIR(info.st_mode), handled_);
  attributes.parent_fd = path;
  if (::syscall(SYS_landlock_add_rule, ruleset_.get(), kRulePathBeneath, &attributes, 0) != 0)
    return errno;
  return 0;
}

int LandlockRuleset::Restrict() const {
  return ::syscall(SYS_landlock_restrict_self, ruleset_.get(), 0) == 0 ? 0 : errno;
}

}  // namespace cofferdam::sandbox
