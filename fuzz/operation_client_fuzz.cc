// Whatever bytes a worker sends, a call of the host's comes to an end and leaves the conversation
// in step or broken for good. The first byte chooses the call; the requests' ids count from op-1.
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "sandbox/operation_client.h"
#include "sandbox/search_results.h"
#include "sys/message.h"

namespace {

using namespace cofferdam;
namespace v1 = protocol::v1;

// Below what a socket holds, so that all can be written before anybody reads.
constexpr std::size_t kMaxInputBytes = 64 * 1024;
constexpr std::chrono::milliseconds kAnswerTimeout{20};

void Call(std::uint8_t choice, sandbox::OperationClient& client) {
  const Deadline deadline = Deadline::After(kAnswerTimeout);
  sandbox::SearchResults results;
  const auto sink = [&](v1::OpChannel, std::string_view bytes) {
    static_cast<void>(results.Feed(bytes));
  };
  v1::OpStart start;
  v1::ControlRequest request;
  switch (choice % 5) {
    case 0:
      static_cast<void>(client.Ping(deadline));
      return;
    case 1:
      request.mutable_fs_list()->set_path("x");
      static_cast<void>(client.Unary(std::move(request), deadline));
      return;
    case 2:
      start.mutable_exec()->add_command("x");
      break;
    case 3:
      start.mutable_grep()->set_pattern("x");
      break;
    case 4:
      start.mutable_fs_write()->set_path("x");
      break;
  }
  const std::string input(start.has_fs_write() ? 100'000 : 0, 'x');
  static_cast<void>(client.Run(std::move(start), input, sink, kAnswerTimeout, {}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > kMaxInputBytes) return 0;
  auto pair = sys::NewSocketPair(SOCK_STREAM);
  CHECK(pair.has_value());
  CHECK(sys::WriteAll(pair->second.get(), {reinterpret_cast<const char*>(data + 1), size - 1}));
  CHECK(::shutdown(pair->second.get(), SHUT_WR) == 0);
  sandbox::OperationClient client(*sandbox::ControlChannel::Over(std::move(pair->first)),
                                  kAnswerTimeout);
  Call(data[0], client);
  // The worker has said all that it says: no second call gets an answer, unless it was there.
  Call(static_cast<std::uint8_t>(data[0] >> 4), client);
  if (client.broken())
    CHECK(client.Ping(Deadline::Never()).error().code == ErrorCode::kSandboxLost);
  return 0;
}
