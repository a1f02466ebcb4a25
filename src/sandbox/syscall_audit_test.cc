// Against the real kernel: a child loads the filter that ships and makes real calls.
#include "sandbox/syscall_audit.h"

#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "sandbox/layers/seccomp/filters.h"
#include "sys/message.h"

namespace cofferdam::sandbox {
namespace {

using testing::ElementsAre;

// A process under the filter that reports. It makes the call that it is told to and says its errno.
class Filtered {
 public:
  struct Call {
    long number;
    std::array<long, 3> arguments = {};
  };

  Filtered() {
    auto pair = sys::NewSocketPair(SOCK_SEQPACKET);
    CHECK(pair.has_value());
    pid_ = ::fork();
    if (pid_ == 0) Serve(pair->second.get());
    socket_ = std::move(pair->first);
    pair->second.Reset();
    char byte;
    auto message = sys::ReceiveMessage(socket_.get(), {&byte, 1});
    CHECK(message && message->fds.size() == 1);
    listener_ = std::move(message->fds[0]);
  }
  ~Filtered() { End(); }

  sys::UniqueFd TakeListener() { return std::move(listener_); }

  int ErrnoOf(const Call& call) {
    CHECK(::send(socket_.get(), &call, sizeof(call), 0) == sizeof(call));
    int error_number = -1;
    CHECK(::recv(socket_.get(), &error_number, sizeof(error_number), 0) == sizeof(error_number));
    return error_number;
  }

  void End() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    CHECK(::waitpid(std::exchange(pid_, -1), nullptr, 0) > 0);
  }

 private:
  [[noreturn]] static void Serve(int socket) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const auto filter = seccomp::Filter(seccomp::kNativeMachine, SeccompProfile::kTools,
                                        seccomp::Denials::kReported);
    sock_fprog program{static_cast<unsigned short>(filter.size()),
                       const_cast<sock_filter*>(filter.data())};  // NOLINT
    const int fds[] = {static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                                  SECCOMP_FILTER_FLAG_NEW_LISTENER, &program))};
    if (!sys::SendMessage(socket, {"L", 1}, fds)) ::_exit(1);
    ::close(fds[0]);
    Call call;
    while (::recv(socket, &call, sizeof(call), 0) == sizeof(call)) {
      const auto [a, b, c] = call.arguments;
      const int error_number = ::syscall(call.number, a, b, c) < 0 ? errno : 0;
      if (::send(socket, &error_number, sizeof(error_number), 0) < 0) break;
    }
    ::_exit(0);
  }

  sys::UniqueFd socket_;
  sys::UniqueFd listener_;
  pid_t pid_ = -1;
};

const Filtered::Call kUnshare = {SYS_unshare, {0}};
const Filtered::Call kVsock = {SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}};
const Filtered::Call kUnknown = {998};
constexpr long kStrangeIoctl = 0x12345678;

std::unique_ptr<SyscallAudit> StartAudit(Filtered& filtered) {
  auto audit = SyscallAudit::Start(filtered.TakeListener(), SeccompProfile::kTools);
  CHECK(audit.has_value());
  return std::move(*audit);
}

std::vector<std::string> Texts(const DeniedCalls& denied) {
  std::vector<std::string> texts;
  for (const DeniedCall& call : denied.calls)
    texts.push_back(std::to_string(call.count) + " " + CallText(call) + " " +
                    ::strerrorname_np(call.error_number));
  return texts;
}

TEST(SyscallAudit, GivesTheErrorsOfThePlainFilterAndCountsThem) {
  Filtered filtered;
  const auto audit = StartAudit(filtered);
  EXPECT_EQ(filtered.ErrnoOf(kUnshare), EPERM);
  EXPECT_EQ(filtered.ErrnoOf(kUnshare), EPERM);
  EXPECT_EQ(filtered.ErrnoOf(kUnshare), EPERM);
  EXPECT_EQ(filtered.ErrnoOf(kVsock), EAFNOSUPPORT);
  EXPECT_EQ(filtered.ErrnoOf(kVsock), EAFNOSUPPORT);
  EXPECT_EQ(filtered.ErrnoOf({SYS_ioctl, {0, kStrangeIoctl}}), ENOTTY);
  EXPECT_EQ(filtered.ErrnoOf({SYS_ioctl, {0, kStrangeIoctl | (1l << 40)}}), ENOTTY);
  EXPECT_EQ(filtered.ErrnoOf({SYS_ioctl, {0, kStrangeIoctl}}), ENOTTY);
  EXPECT_EQ(filtered.ErrnoOf({SYS_ioctl, {0, kStrangeIoctl}}), ENOTTY);
  EXPECT_EQ(filtered.ErrnoOf(kUnknown), ENOSYS);
  EXPECT_EQ(filtered.ErrnoOf({SYS_getppid}), 0);
  EXPECT_THAT(Texts(audit->Denied()),
              ElementsAre("4 ioctl(_, 0x12345678) ENOTTY", "3 unshare EPERM",
                          "2 socket(0x28, 0x1, 0x0) EAFNOSUPPORT", "1 call 998 ENOSYS"));
}

TEST(SyscallAudit, RefusesWhenNobodyListensAnyMore) {
  Filtered filtered;
  auto audit = StartAudit(filtered);
  EXPECT_EQ(filtered.ErrnoOf(kVsock), EAFNOSUPPORT);
  audit.reset();
  for (const Filtered::Call& call : {kUnshare, kVsock, kUnknown})
    EXPECT_EQ(filtered.ErrnoOf(call), ENOSYS);
  EXPECT_EQ(filtered.ErrnoOf({SYS_getppid}), 0);
}

TEST(SyscallAudit, TakesCallsThatDifferInAProcessOnlyForOneKind) {
  Filtered filtered;
  const auto audit = StartAudit(filtered);
  EXPECT_EQ(filtered.ErrnoOf({SYS_setpriority, {0, 4711, 5}}), EPERM);
  EXPECT_EQ(filtered.ErrnoOf({SYS_setpriority, {0, 4712, 5}}), EPERM);
  EXPECT_EQ(filtered.ErrnoOf({SYS_setpriority, {2, 0, 5}}), EPERM);
  EXPECT_EQ(filtered.ErrnoOf({SYS_sched_setaffinity, {4711}}), EPERM);
  EXPECT_THAT(Texts(audit->Denied()),
              ElementsAre("2 setpriority(0x0) EPERM", "1 sched_setaffinity EPERM",
                          "1 setpriority(0x2) EPERM"));
}

TEST(SyscallAudit, ToldToForgetBeginsAnew) {
  Filtered filtered;
  const auto audit = StartAudit(filtered);
  EXPECT_EQ(filtered.ErrnoOf(kUnshare), EPERM);
  audit->Forget();
  EXPECT_EQ(filtered.ErrnoOf(kUnknown), ENOSYS);
  EXPECT_THAT(Texts(audit->Denied()), ElementsAre("1 call 998 ENOSYS"));
}

TEST(SyscallAudit, TellsSoManyKindsApartAndCountsTheRest) {
  Filtered filtered;
  const auto audit = StartAudit(filtered);
  constexpr long kBeyond = 5;
  for (std::size_t i = 0; i < SyscallAudit::kMaxKinds; ++i)
    EXPECT_EQ(filtered.ErrnoOf({SYS_ioctl, {0, kStrangeIoctl + static_cast<long>(i)}}), ENOTTY);
  for (long i = 0; i < kBeyond; ++i) EXPECT_EQ(filtered.ErrnoOf({SYS_prctl, {1000 + i}}), EPERM);
  EXPECT_EQ(filtered.ErrnoOf({SYS_ioctl, {0, kStrangeIoctl}}), ENOTTY);
  const DeniedCalls denied = audit->Denied();
  EXPECT_EQ(denied.calls.size(), SyscallAudit::kMaxKinds);
  EXPECT_EQ(denied.calls.front().count, 2U);
  EXPECT_EQ(denied.others, static_cast<std::uint64_t>(kBeyond));
}

TEST(SyscallAudit, KeepsItsCountsWhenTheProcessesHaveEnded) {
  Filtered filtered;
  const auto audit = StartAudit(filtered);
  EXPECT_EQ(filtered.ErrnoOf(kUnshare), EPERM);
  filtered.End();
  EXPECT_THAT(Texts(audit->Denied()), ElementsAre("1 unshare EPERM"));
}

}  // namespace
}  // namespace cofferdam::sandbox
