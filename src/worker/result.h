// How the worker says what went wrong.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "protocol/control.pb.h"

namespace cofferdam::worker {

protocol::v1::AgentError MakeError(protocol::v1::ErrorCode code, std::string message);
/// "`what`: No such file or directory", with the errno beside it.
protocol::v1::AgentError MakeOsError(int error_number, std::string_view what);
protocol::v1::AgentError FromError(const Error& error);

/// The exit of an operation that failed.
protocol::v1::OpExit FailedExit(protocol::v1::AgentError error, int exit_code = 1);

/// A path of a request: an empty one is the working directory.
std::string PathOrHere(const std::string& path);

}  // namespace cofferdam::worker
