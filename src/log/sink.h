// Where log lines go: the console and a rotating file.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "log/config.h"
#include "log/format.h"
#include "log/rotating_file.h"

namespace cofferdam::log {

/// Made once by main and shared by all loggers. Safe to use from several threads: lines are whole
/// and in one order. Not to be used between fork and exec.
class Sink {
 public:
  /// The levels that one subsystem's messages must pass.
  struct Thresholds {
    Level console = Level::kSilent;
    Level file = Level::kSilent;
  };

  /// Opens the file, if one is wanted. `clock` must outlive the sink. ErrorCode::kConfig for limits
  /// of 0, kOs when the file cannot be opened.
  static Result<std::shared_ptr<Sink>> Open(Config config, const Clock& clock);

  Thresholds ThresholdsFor(std::string_view subsystem) const;

  /// Writes one message wherever its level passes. Never fails: when a line cannot be written it is
  /// dropped and counted, and a file is opened anew after kReopenMillis.
  void Write(Level level, std::string_view subsystem, std::string_view message,
             std::span<const Field> fields, Thresholds thresholds);

  /// Lines that could not be written to the file.
  std::uint64_t dropped() const;

  static constexpr std::int64_t kReopenMillis = 1000;

 private:
  Sink(Config config, const Clock& clock) : config_(std::move(config)), clock_(clock) {}
  Status OpenFile();
  void WriteConsole(const Record& record);
  void WriteFile(const Record& record);
  bool AppendToFile(std::string_view line);

  const Config config_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  // Guarded by mutex_. Null when there is no file, and while a broken one is left alone.
  std::unique_ptr<RotatingFile> file_;
  std::int64_t reopen_at_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace cofferdam::log
