#include "log/sink.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cofferdam::log {

Result<std::shared_ptr<Sink>> Sink::Open(Config config, const Clock& clock) {
  if (config.max_file_bytes == 0 || config.max_files == 0)
    return Err(ErrorCode::kConfig, "a log file needs room for at least one byte and one old file");
  std::shared_ptr<Sink> sink(new Sink(std::move(config), clock));
  if (!sink->config_.file_path.empty()) RETURN_IF_ERROR(sink->OpenFile());
  return sink;
}

Status Sink::OpenFile() {
  ASSIGN_OR_RETURN(
      file_, RotatingFile::Open(config_.file_path, config_.max_file_bytes, config_.max_files));
  return {};
}

Sink::Thresholds Sink::ThresholdsFor(std::string_view subsystem) const {
  return {.console = config_.console.For(subsystem),
          .file = config_.file_path.empty() ? Level::kSilent : config_.file.For(subsystem)};
}

void Sink::Write(Level level, std::string_view subsystem, std::string_view message,
                 std::span<const Field> fields, Thresholds thresholds) {
  const Record record{.unix_millis = clock_.UnixMillis(),
                      .level = level,
                      .subsystem = subsystem,
                      .message = message,
                      .fields = fields};
  if (level <= thresholds.console) WriteConsole(record);
  if (level <= thresholds.file) WriteFile(record);
}

void Sink::WriteConsole(const Record& record) {
  std::string line;
  switch (config_.console_style) {
    case ConsoleStyle::kCompact:
      line = FormatCompact(record);
      break;
    case ConsoleStyle::kPretty:
      line = FormatPretty(record);
      break;
    case ConsoleStyle::kJson:
      line = FormatJson(record);
      break;
  }
  line += '\n';
  const std::lock_guard lock(mutex_);
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t n = ::write(config_.console_fd, rest.data(), rest.size());
    // Nobody reads a console that is gone, and there is nowhere else to say so.
    if (n < 0 && errno != EINTR) return;
    if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

void Sink::WriteFile(const Record& record) {
  const std::string line = FormatJson(record);
  const std::lock_guard lock(mutex_);
  // Opening can take a while when it fails, so a broken file is not tried for every line.
  const bool worth_trying = file_ != nullptr || record.unix_millis >= reopen_at_;
  if (worth_trying && AppendToFile(line)) return;
  ++dropped_;
  file_.reset();
  if (worth_trying) reopen_at_ = record.unix_millis + kReopenMillis;
}

bool Sink::AppendToFile(std::string_view line) {
  if (file_ == nullptr && !OpenFile()) return false;
  return file_->Write(line).has_value();
}

std::uint64_t Sink::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

}  // namespace cofferdam::log
