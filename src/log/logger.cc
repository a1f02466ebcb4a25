#include "log/logger.h"

#include <utility>

#include "base/check.h"

namespace cofferdam::log {

Logger::Logger(std::shared_ptr<Sink> sink, std::string subsystem)
    : sink_(std::move(sink)), subsystem_(std::move(subsystem)) {
  if (sink_ != nullptr) thresholds_ = sink_->ThresholdsFor(subsystem_);
}

Logger Logger::Child(std::string_view name) const {
  return Logger(sink_, subsystem_ + "/" + std::string(name));
}

bool Logger::Enabled(Level level) const {
  return level <= thresholds_.console || level <= thresholds_.file;
}

void Logger::Log(Level level, std::string_view message, std::initializer_list<Field> fields) const {
  CHECK(level != Level::kSilent);
  if (Enabled(level)) sink_->Write(level, subsystem_, message, fields, thresholds_);
}

void Logger::Fatal(std::string_view message, std::initializer_list<Field> fields) const {
  Log(Level::kFatal, message, fields);
}
void Logger::Error(std::string_view message, std::initializer_list<Field> fields) const {
  Log(Level::kError, message, fields);
}
void Logger::Warn(std::string_view message, std::initializer_list<Field> fields) const {
  Log(Level::kWarn, message, fields);
}
void Logger::Info(std::string_view message, std::initializer_list<Field> fields) const {
  Log(Level::kInfo, message, fields);
}
void Logger::Debug(std::string_view message, std::initializer_list<Field> fields) const {
  Log(Level::kDebug, message, fields);
}
void Logger::Trace(std::string_view message, std::initializer_list<Field> fields) const {
  Log(Level::kTrace, message, fields);
}

}  // namespace cofferdam::log
