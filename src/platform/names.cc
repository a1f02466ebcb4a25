#include <string>

#include <cofferdam/platform.h>

#include "base/error.h"
#include "base/id.h"

namespace cofferdam {

Status CheckName(const std::string& what, const std::string& name) {
  const auto wrong = [&what](const std::string& why) {
    return Err(ErrorCode::kInvalidArgument, "a " + what + " id must " + why,
               "use 1 to 128 of A-Z a-z 0-9 _ -");
  };
  if (name.empty()) return wrong("be a non-empty string");
  if (name.find("..") != std::string::npos || name.find_first_of("/\\") != std::string::npos)
    return wrong("not hold a path traversal ('..', '/' or '\\')");
  if (name.size() > 128 && IsName(name.substr(0, 128))) return wrong("have at most 128 characters");
  if (!IsName(name)) return wrong("be alphanumeric, with _ and -");
  return {};
}

}  // namespace cofferdam
