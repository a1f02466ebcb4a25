#include "platform/denied_calls.h"

#include <cstring>
#include <utility>

namespace cofferdam::platform {

DeniedCalls PublicDeniedCalls(const sandbox::DeniedCalls& denied) {
  DeniedCalls result{.others = denied.others};
  for (const sandbox::DeniedCall& call : denied.calls) {
    const char* answer = ::strerrorname_np(call.error_number);
    result.calls.push_back({.syscall = call.syscall,
                            .call = sandbox::CallText(call),
                            .answer = answer != nullptr ? answer : "an unknown error",
                            .count = call.count});
  }
  return result;
}

record::NewEvent DeniedCallsEvent(const std::string& sandbox, const DeniedCalls& denied) {
  std::vector<record::DeniedCall> calls;
  for (const DeniedCall& call : denied.calls)
    calls.push_back({call.syscall, call.call, call.answer, call.count});
  return record::SandboxDeniedCalls(sandbox, calls, denied.others);
}

}  // namespace cofferdam::platform
