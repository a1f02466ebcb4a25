#include "log/rotating_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>

namespace cofferdam::log {
namespace {

// spdlog makes files with whatever the umask leaves, so they are made here, just before.
void MakeOwnerOnly(const spdlog::filename_t& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) spdlog::throw_spdlog_ex("opening '" + path + "'", errno);
  ::close(fd);
}

}  // namespace

struct RotatingFile::Implementation {
  spdlog::sinks::rotating_file_sink_st sink;
};

RotatingFile::RotatingFile(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

RotatingFile::~RotatingFile() = default;

Result<std::unique_ptr<RotatingFile>> RotatingFile::Open(std::string path, std::uint64_t max_bytes,
                                                         std::size_t max_files) {
  spdlog::file_event_handlers handlers;
  handlers.before_open = MakeOwnerOnly;
  try {
    std::unique_ptr<Implementation> implementation(
        new Implementation{spdlog::sinks::rotating_file_sink_st(std::move(path), max_bytes,
                                                                max_files, false, handlers)});
    implementation->sink.set_pattern("%v");
    return std::unique_ptr<RotatingFile>(new RotatingFile(std::move(implementation)));
  } catch (const spdlog::spdlog_ex& error) {
    return Err(ErrorCode::kOs, std::string("the log file: ") + error.what());
  }
}

Status RotatingFile::Write(std::string_view line) {
  try {
    implementation_->sink.log(spdlog::details::log_msg(
        {}, spdlog::level::info, spdlog::string_view_t(line.data(), line.size())));
    implementation_->sink.flush();
    return {};
  } catch (const spdlog::spdlog_ex& error) {
    return Err(ErrorCode::kOs, std::string("the log file: ") + error.what());
  }
}

}  // namespace cofferdam::log
