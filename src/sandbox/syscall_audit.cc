#include "sandbox/syscall_audit.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <tuple>

#include "sandbox/layers/seccomp/filters.h"
#include "sandbox/layers/seccomp/interpreter.h"
#include "sandbox/layers/seccomp/syscalls.h"

namespace cofferdam::sandbox {
namespace {

using seccomp::kNativeMachine;

// The error of the filter that answers by itself. That the other one asks only where this one
// refuses is tested for every call; should it not be so, the call is refused.
int PlainError(SeccompProfile profile, const seccomp_data& data) {
  const auto filter = seccomp::Filter(kNativeMachine, profile, seccomp::Denials::kAnswered);
  const std::uint32_t answer = seccomp::Interpret(filter, data);
  const bool is_error = (answer & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
  const auto error_number = static_cast<int>(answer & SECCOMP_RET_DATA);
  return is_error && error_number != 0 ? error_number : EPERM;
}

std::vector<DeniedCall::Argument> DecidingArguments(const seccomp_data& data) {
  std::vector<DeniedCall::Argument> arguments;
  const auto* info = seccomp::FindSyscall(kNativeMachine, static_cast<std::uint32_t>(data.nr));
  for (unsigned i = 0; info != nullptr && i < std::size(data.args); ++i)
    if ((info->deciding_arguments & (1u << i)) != 0)
      arguments.push_back({i, static_cast<std::uint32_t>(data.args[i])});
  return arguments;
}

std::string NameOf(std::uint32_t number) {
  const auto* info = seccomp::FindSyscall(kNativeMachine, number);
  return info != nullptr ? info->name : "call " + std::to_string(number);
}

}  // namespace

Result<std::unique_ptr<SyscallAudit>> SyscallAudit::Start(sys::UniqueFd listener,
                                                          SeccompProfile profile) {
  // A newer kernel may tell more than we know of.
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
    return ErrnoError(errno, "asking for the size of seccomp notifications");
  const std::size_t bytes =
      std::max({sizeof(seccomp_notif), std::size_t{sizes.seccomp_notif}, sizeof(seccomp_notif_resp),
                std::size_t{sizes.seccomp_notif_resp}});
  ASSIGN_OR_RETURN(sys::UniqueFd wakeup, sys::NewEventFd());
  std::unique_ptr<SyscallAudit> audit(new SyscallAudit(std::move(wakeup), profile));
  // The thread owns the listener: whatever ends it closes that, and nobody waits for an answer.
  audit->thread_ = std::jthread([audit = audit.get(), bytes, held = std::move(listener)] {
    audit->Serve(held.get(), bytes);
  });
  return audit;
}

SyscallAudit::~SyscallAudit() { ::eventfd_write(wakeup_.get(), 1); }

void SyscallAudit::Serve(int listener, std::size_t notification_bytes) {
  std::vector<char> buffer(notification_bytes);
  for (;;) {
    pollfd waits[] = {{listener, POLLIN, 0}, {wakeup_.get(), POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents != 0) return;
    if ((waits[0].revents & POLLIN) != 0) {
      if (!ServeOne(listener, buffer)) return;
    } else if (waits[0].revents != 0) {
      return;  // the last process with the filter has ended
    }
  }
}

// False when the listener can serve no longer.
bool SyscallAudit::ServeOne(int listener, std::vector<char>& buffer) {
  std::ranges::fill(buffer, 0);
  if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, buffer.data()) != 0)
    return errno == EINTR || errno == ENOENT;  // ENOENT: its process was killed
  seccomp_notif notification;
  std::memcpy(&notification, buffer.data(), sizeof(notification));
  const int error_number = PlainError(profile_, notification.data);
  Count({static_cast<std::uint32_t>(notification.data.nr), DecidingArguments(notification.data),
         error_number});
  seccomp_notif_resp answer{};
  answer.id = notification.id;
  answer.error = -error_number;
  std::ranges::fill(buffer, 0);
  std::memcpy(buffer.data(), &answer, sizeof(answer));
  int sent = 0;
  do {
    sent = ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, buffer.data());
  } while (sent != 0 && errno == EINTR);
  return sent == 0 || errno == ENOENT;
}

void SyscallAudit::Count(Kind kind) {
  const std::lock_guard lock(mutex_);
  const auto known = counts_.find(kind);
  if (known != counts_.end())
    ++known->second;
  else if (counts_.size() < kMaxKinds)
    counts_.emplace(std::move(kind), 1);
  else
    ++others_;
}

DeniedCalls SyscallAudit::Denied() const {
  const std::lock_guard lock(mutex_);
  DeniedCalls denied;
  denied.others = others_;
  for (const auto& [kind, count] : counts_)
    denied.calls.push_back({NameOf(kind.number), kind.arguments, kind.error_number, count});
  std::ranges::sort(denied.calls, [](const DeniedCall& one, const DeniedCall& other) {
    return std::tie(other.count, one.syscall, one.arguments) <
           std::tie(one.count, other.syscall, other.arguments);
  });
  return denied;
}

void SyscallAudit::Forget() {
  const std::lock_guard lock(mutex_);
  counts_.clear();
  others_ = 0;
}

std::string CallText(const DeniedCall& call) {
  if (call.arguments.empty()) return call.syscall;
  std::string text;
  unsigned next = 0;
  for (const auto& [index, value] : call.arguments) {
    for (; next < index; ++next) text += "_, ";
    char number[16];
    std::snprintf(number, sizeof(number), "0x%x, ", value);
    text += number;
    ++next;
  }
  text.resize(text.size() - 2);
  return call.syscall + "(" + text + ")";
}

}  // namespace cofferdam::sandbox
