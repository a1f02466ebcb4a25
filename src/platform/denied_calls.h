// What a sandbox's audit counted, for callers and for the record. Pure.
#pragma once

#include <cofferdam/denied_calls.h>

#include "record/events.h"
#include "sandbox/syscall_audit.h"

namespace cofferdam::platform {

DeniedCalls PublicDeniedCalls(const sandbox::DeniedCalls& denied);

record::NewEvent DeniedCallsEvent(const std::string& sandbox, const DeniedCalls& denied);

}  // namespace cofferdam::platform
