#include "worker/network_pool.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "sys/file.h"

namespace cofferdam::worker {
namespace {

// One costs about 0.2 MiB of kernel memory. More than a burst needs would only be memory.
constexpr std::size_t kPoolSize = 16;

Status RaiseLoopback() {
  const sys::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoError(errno, "opening a socket");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0)
    return ErrnoError(errno, "raising the loopback interface");
  return {};
}

}  // namespace

Status NetworkPool::Prepare(int proc) {
  proc_ = proc;
  ASSIGN_OR_RETURN(home_, sys::OpenAt(proc_, "self/ns/net", O_RDONLY));
  return {};
}

Result<sys::UniqueFd> NetworkPool::Make() {
  if (::unshare(CLONE_NEWNET) != 0) return ErrnoError(errno, "making a network namespace");
  const Status raised = RaiseLoopback();
  auto made = sys::OpenAt(proc_, "self/ns/net", O_RDONLY);
  Leave();
  if (!raised) return std::unexpected(raised.error());
  return made;
}

Status NetworkPool::Enter() {
  sys::UniqueFd network;
  if (ready_.empty()) {
    ASSIGN_OR_RETURN(network, Make());
  } else {
    network = std::move(ready_.back());
    ready_.pop_back();
  }
  if (::setns(network.get(), CLONE_NEWNET) != 0)
    return ErrnoError(errno, "entering a network namespace");
  return {};
}

void NetworkPool::Leave() { CHECK(::setns(home_.get(), CLONE_NEWNET) == 0); }

bool NetworkPool::WantsMore() const { return ready_.size() < kPoolSize; }

Status NetworkPool::Fill() {
  ASSIGN_OR_RETURN(sys::UniqueFd network, Make());
  ready_.push_back(std::move(network));
  return {};
}

}  // namespace cofferdam::worker
