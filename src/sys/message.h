// Messages with descriptors over Unix sockets.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::sys {

inline constexpr std::size_t kMaxPassedFds = 40;

struct SocketPair {
  UniqueFd first;
  UniqueFd second;
};
/// A close-on-exec pair of Unix sockets of SOCK_STREAM or SOCK_SEQPACKET.
Result<SocketPair> NewSocketPair(int type);

/// One message, at most kMaxPassedFds descriptors. The descriptors stay the caller's.
Status SendMessage(int socket, std::span<const char> bytes, std::span<const int> fds);

struct ReceivedMessage {
  std::size_t size = 0;  // 0: the peer is gone
  std::vector<UniqueFd> fds;
};
/// Waits for one message and puts it into `buffer`; a longer one is kProtocol. The descriptors are
/// close-on-exec.
Result<ReceivedMessage> ReceiveMessage(int socket, std::span<char> buffer);

}  // namespace cofferdam::sys
