// Where a sandbox finds the programs that are tested.
#pragma once

#include <optional>
#include <string>

#include "sandbox/spec.h"

namespace cofferdam::sandbox {

/// A program, and its directory on the host where that is not one that every sandbox sees.
struct Program {
  std::string path;
  std::optional<Mount> mount = std::nullopt;
};

std::optional<Program> FindInUsr(const std::string& name);

/// One whose configuration lies beside it: Debian's own packages keep theirs in the host's /etc,
/// which no sandbox sees.
std::optional<Program> FindJava();

/// `rustc` or `cargo`. rustup keeps toolchains in its user's home.
std::optional<Program> FindOfRust(const std::string& name);

}  // namespace cofferdam::sandbox
