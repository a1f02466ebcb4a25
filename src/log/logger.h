// Structured logging: a message, a subsystem, and fields.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "log/field.h"
#include "log/level.h"
#include "log/sink.h"

namespace cofferdam::log {

/// Writes the messages of one subsystem into a sink. A value: cheap to copy, safe to share. One
/// that was default-constructed drops everything.
///
///   log::Logger logger(sink, "gateway");
///   logger.Child("egress").Warn("refused a connection", {{"host", host}, {"port", port}});
///
/// Messages are fixed sentences; what varies goes into fields. Secrets do not compile as fields.
class Logger {
 public:
  Logger() = default;
  Logger(std::shared_ptr<Sink> sink, std::string subsystem);

  const std::string& subsystem() const { return subsystem_; }
  /// A logger of the same sink for the subsystem "<this one>/<name>".
  Logger Child(std::string_view name) const;

  /// Whether a message of this level would be written anywhere: ask before costly preparations.
  bool Enabled(Level level) const;

  /// `level` is not kSilent. kFatal only says so; it does not end the process.
  void Log(Level level, std::string_view message, std::initializer_list<Field> fields = {}) const;

  void Fatal(std::string_view message, std::initializer_list<Field> fields = {}) const;
  void Error(std::string_view message, std::initializer_list<Field> fields = {}) const;
  void Warn(std::string_view message, std::initializer_list<Field> fields = {}) const;
  void Info(std::string_view message, std::initializer_list<Field> fields = {}) const;
  void Debug(std::string_view message, std::initializer_list<Field> fields = {}) const;
  void Trace(std::string_view message, std::initializer_list<Field> fields = {}) const;

 private:
  std::shared_ptr<Sink> sink_;
  std::string subsystem_;
  Sink::Thresholds thresholds_;
};

}  // namespace cofferdam::log
