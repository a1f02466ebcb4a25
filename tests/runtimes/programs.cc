#include "programs.h"

#include <cstdlib>
#include <filesystem>

namespace cofferdam::sandbox {

std::optional<Program> FindInUsr(const std::string& name) {
  std::error_code error;
  const auto path = std::filesystem::canonical("/usr/bin/" + name, error);
  if (error || !path.string().starts_with("/usr/")) return std::nullopt;
  return Program{path};
}

std::optional<Program> FindJava() {
  std::error_code error;
  for (const auto& home : std::filesystem::directory_iterator("/usr/lib/jvm", error)) {
    const auto security =
        std::filesystem::canonical(home.path() / "conf/security/java.security", error);
    if (error || !security.string().starts_with("/usr/")) continue;
    if (std::filesystem::exists(home.path() / "bin/javac", error))
      return Program{home.path() / "bin/java"};
  }
  return std::nullopt;
}

std::optional<Program> FindOfRust(const std::string& name) {
  if (auto program = FindInUsr(name)) return program;
  const char* home = std::getenv("HOME");
  std::error_code error;
  const std::filesystem::path root =
      std::string(home != nullptr ? home : "") + "/.rustup/toolchains";
  for (const auto& toolchain : std::filesystem::directory_iterator(root, error))
    if (std::filesystem::exists(toolchain.path() / "bin" / name, error))
      return Program{"/mnt/rust/bin/" + name,
                     Mount{std::filesystem::canonical(toolchain.path()), "/mnt/rust", false}};
  return std::nullopt;
}

}  // namespace cofferdam::sandbox
