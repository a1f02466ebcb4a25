// Time as a parameter: what stamps a record takes a Clock, so that a test decides what time it is.
#pragma once

#include <cstdint>
#include <string>

namespace cofferdam {

/// UTC wall-clock time. Implementations are safe to use from several threads.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Milliseconds since 1970-01-01T00:00:00Z.
  virtual std::int64_t UnixMillis() const = 0;
};

class SystemClock final : public Clock {
 public:
  std::int64_t UnixMillis() const override;
};

/// RFC 3339 in UTC with milliseconds: "2026-11-21T07:15:02.123Z".
std::string FormatUtc(std::int64_t unix_millis);

}  // namespace cofferdam
