// Whatever bytes a host sends, the tool server ends when they end. Requests that run programs or
// change files are left out, and the others see nothing but an empty directory; the commands and
// writes themselves are tested beside the server.
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"
#include "sys/message.h"
#include "sys/testing/temp_dir.h"
#include "worker/tool_server.h"

namespace {

using namespace cofferdam;
namespace v1 = protocol::v1;

constexpr std::size_t kMaxInputBytes = 16 * 1024;
// Each is a fork.
constexpr int kMaxOperations = 4;

// Makes a request harmless; false when it cannot be.
bool MakeHarmless(const std::string& directory, v1::ControlRequest& request) {
  switch (request.op_case()) {
    case v1::ControlRequest::kFsList:
      request.mutable_fs_list()->set_path(directory);
      return true;
    case v1::ControlRequest::kFsStat:
      request.mutable_fs_stat()->set_path(directory);
      return true;
    case v1::ControlRequest::kFsMkdir:
    case v1::ControlRequest::kFsMove:
    case v1::ControlRequest::kFsRemove:
      return false;
    case v1::ControlRequest::kOpStart:
      break;
    default:
      return true;
  }
  v1::OpStart& start = *request.mutable_op_start();
  switch (start.op_case()) {
    case v1::OpStart::kFsRead:
      start.mutable_fs_read()->set_path(directory + "/absent");
      return true;
    case v1::OpStart::kGrep:
      start.mutable_grep()->set_path(directory);
      return true;
    case v1::OpStart::kFind:
      start.mutable_find()->set_path(directory);
      return true;
    case v1::OpStart::kExec:
    case v1::OpStart::kFsWrite:
      return false;
    case v1::OpStart::OP_NOT_SET:
      return true;
  }
  return false;
}

bool Forks(const v1::ControlRequest& request) {
  return request.has_op_start() || request.has_fs_list() || request.has_fs_stat();
}

// The host's bytes, with every request made harmless. A frame that is no message stays as it is,
// and so do bytes behind the last whole frame.
std::string HarmlessBytes(const std::string& directory, std::string_view bytes) {
  protocol::FrameDecoder decoder;
  const bool good = decoder.Feed(bytes).has_value();
  std::string harmless;
  int operations = 0;
  while (const auto frame = decoder.Next()) {
    v1::HostFrame message;
    if (!message.ParseFromString(*frame)) {
      harmless += protocol::EncodeFrame(*frame);
      continue;
    }
    if (message.has_request()) {
      if (!MakeHarmless(directory, *message.mutable_request())) continue;
      if (Forks(message.request()) && ++operations > kMaxOperations) continue;
    }
    const std::string text = message.SerializeAsString();
    if (!text.empty()) harmless += protocol::EncodeFrame(text);
  }
  if (!good) return harmless + std::string(4, '\xff');
  return harmless + std::string(bytes.substr(bytes.size() - decoder.pending_bytes()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > kMaxInputBytes) return 0;
  static const sys::TempDir directory;
  auto pair = sys::NewSocketPair(SOCK_STREAM);
  CHECK(pair.has_value());
  CHECK(
      sys::WriteAll(pair->first.get(),
                    HarmlessBytes(directory.path(), {reinterpret_cast<const char*>(data), size})));
  CHECK(::shutdown(pair->first.get(), SHUT_WR) == 0);
  worker::ServeTools(pair->second.get(), -1);
  return 0;
}
