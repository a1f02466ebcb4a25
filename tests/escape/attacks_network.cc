// Attacks over sockets.

#include <arpa/inet.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

Outcome RawSocket(Arguments) {
  return Of(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
}
Outcome RawSocket6(Arguments) {
  return Of(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
}
Outcome PacketSocket(Arguments) { return Of(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }
Outcome RawPacketSocket(Arguments) { return Of(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)); }
Outcome CryptoSocket(Arguments) { return Of(::socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }
Outcome VsockSocket(Arguments) { return Of(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
// A protocol that few programs use, for which the kernel may have to load a module.
Outcome UncommonTransport(Arguments) {
  return Of(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDPLITE));
}
Outcome DiagnosisSocket(Arguments) {
  constexpr int kSockDiag = 4;
  return Of(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, kSockDiag));
}
Outcome KernelEventSocket(Arguments) {
  return Of(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
}

Outcome ConnectTo(const char* address, int port, int type) {
  const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno};
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<std::uint16_t>(port));
  peer.sin_addr.s_addr = ::inet_addr(address);
  return Of(::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)));
}
Outcome HostLoopback(Arguments arguments) {
  return ConnectTo("127.0.0.1", std::atoi(arguments[0]), SOCK_STREAM);
}
// A datagram socket only looks for a route; nothing is sent.
Outcome RouteOut(Arguments) { return ConnectTo("192.0.2.1", 53, SOCK_DGRAM); }

Outcome AbstractSocket(Arguments arguments) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno};
  sockaddr_un peer{};
  peer.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(arguments[0]);
  std::memcpy(peer.sun_path + 1, arguments[0], length);
  return Of(::connect(fd, reinterpret_cast<const sockaddr*>(&peer),
                      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length)));
}

// Over the one netlink protocol that is open to tools.
Outcome ChangeInterface(Arguments) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return {errno};
  struct {
    nlmsghdr header;
    ifinfomsg interface;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_NEWLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.interface.ifi_index = 1;
  request.interface.ifi_change = IFF_UP;
  request.interface.ifi_flags = IFF_UP;
  if (::send(fd, &request, sizeof(request), 0) < 0) return {errno};
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer{};
  if (::recv(fd, &answer, sizeof(answer), 0) < 0) return {errno};
  return {-answer.error.error};
}

constexpr Attack kAttacks[] = {
    {"raw_socket", RawSocket},
    {"raw_socket6", RawSocket6},
    {"packet_socket", PacketSocket},
    {"raw_packet_socket", RawPacketSocket},
    {"crypto_socket", CryptoSocket},
    {"vsock_socket", VsockSocket},
    {"uncommon_transport", UncommonTransport},
    {"diagnosis_socket", DiagnosisSocket},
    {"kernel_event_socket", KernelEventSocket},
    {"host_loopback", HostLoopback, 1},
    {"route_out", RouteOut},
    {"abstract_socket", AbstractSocket, 1},
    {"change_interface", ChangeInterface},
};

}  // namespace

std::span<const Attack> NetworkAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
