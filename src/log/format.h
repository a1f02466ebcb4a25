// A message as a line of text. Pure; safe to call from any thread.
//
// Whatever bytes a message, a subsystem or a field holds, the line is one line of valid UTF-8
// without control characters, so that nothing that is logged can forge a line or drive a terminal:
// line breaks and other C0 and C1 controls, DEL, line and paragraph separators and characters that
// change the direction of text are written as \n, \r, \t or \u and four digits. Texts longer than
// kMaxTextBytes are cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "log/field.h"
#include "log/level.h"

namespace cofferdam::log {

/// How much of a message, of a text field or of a document's text is kept, in bytes.
inline constexpr std::size_t kMaxTextBytes = std::size_t{16} * 1024;

/// One message; borrows everything.
struct Record {
  std::int64_t unix_millis = 0;
  Level level = Level::kInfo;
  std::string_view subsystem;
  std::string_view message;
  std::span<const Field> fields;
};

/// {"time":"…","level":"…","subsystem":"…","message":"…",…fields} in this order. A field called
/// time, level, subsystem or message is written as "fields.time" and so on, so that no field can
/// stand for the real one; of several fields with one name the last counts.
std::string FormatJson(const Record& record);

/// "[subsystem] message {fields}", without the braces when there are no fields.
std::string FormatCompact(const Record& record);

/// "2026-11-21T07:15:02.123Z [WARN ] [subsystem] message {fields}".
std::string FormatPretty(const Record& record);

}  // namespace cofferdam::log
