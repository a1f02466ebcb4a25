#include "model/yaml.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "base/utf8.h"

namespace cofferdam::model {
namespace {

using json::Json;

constexpr std::size_t kMaxDepth = 64;

// Leaves the parser, which knows no other way out; caught in ParseYaml.
struct Refusal {
  std::string reason;
  YAML::Mark mark;
};

bool IsForbiddenControl(char c) {
  return c >= 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r';
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Json PlainScalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL")
    return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  // Keeps "inf" and "nan" out, which from_chars takes and JSON has not.
  if (text.find_first_not_of("0123456789+-.eE") != std::string::npos) return text;
  if (const auto integer = ParseNumber<std::int64_t>(text)) return *integer;
  if (const auto real = ParseNumber<double>(text)) return *real;
  return text;
}

// Builds the value from the parser's events, which unlike its tree keep no alias from our eyes.
class Builder final : public YAML::EventHandler {
 public:
  Json Take() { return std::move(result_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Add(mark, nullptr);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refusal{"aliases are not allowed", mark};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    // The parser makes a lone byte of the escapes \N and \_.
    if (!IsValidUtf8(value)) throw Refusal{"an escape gives no valid UTF-8", mark};
    // The parser's names for "plain" and "quoted".
    if (tag != "?" && tag != "!") throw Refusal{"tags are not allowed", mark};
    if (AwaitsKey()) {
      SetKey(mark, value);
    } else {
      Add(mark, tag == "!" ? Json(value) : PlainScalar(value));
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, Json::array());
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, Json::object());
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    YAML::Mark mark;
    Json value;
    std::optional<std::string> key;
  };

  static void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) throw Refusal{"anchors are not allowed", mark};
  }

  bool AwaitsKey() const {
    return !frames_.empty() && frames_.back().value.is_object() && !frames_.back().key;
  }

  void SetKey(const YAML::Mark& mark, const std::string& key) {
    if (frames_.back().value.contains(key))
      throw Refusal{"the key '" + key + "' is there twice", mark};
    frames_.back().key = key;
  }

  void Add(const YAML::Mark& mark, Json value) {
    if (AwaitsKey()) throw Refusal{"a key must be a word", mark};
    if (frames_.empty()) {
      result_ = std::move(value);
    } else if (Frame& frame = frames_.back(); frame.value.is_array()) {
      frame.value.push_back(std::move(value));
    } else {
      frame.value[*std::exchange(frame.key, std::nullopt)] = std::move(value);
    }
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Json empty) {
    RefuseAnchor(mark, anchor);
    if (tag != "?" && !tag.empty()) throw Refusal{"tags are not allowed", mark};
    if (AwaitsKey()) throw Refusal{"a key must be a word", mark};
    if (frames_.size() >= kMaxDepth) throw Refusal{"nested too deeply", mark};
    frames_.push_back({mark, std::move(empty), std::nullopt});
  }

  void Close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    Add(frame.mark, std::move(frame.value));
  }

  std::vector<Frame> frames_;
  Json result_;
};

std::unexpected<Error> Malformed(const YAML::Mark& mark, const std::string& reason) {
  return Err(ErrorCode::kMalformed, "YAML, line " + std::to_string(mark.line + 1) + ": " + reason);
}

}  // namespace

Result<Json> ParseYaml(std::string_view text) {
  if (text.size() > kMaxYamlBytes)
    return Err(ErrorCode::kTooLarge,
               "a YAML text has more than " + std::to_string(kMaxYamlBytes) + " bytes");
  if (!IsValidUtf8(text)) return Err(ErrorCode::kMalformed, "a YAML text is not valid UTF-8");
  // YAML allows none; to the parser a NUL at the start means another encoding than UTF-8.
  if (std::ranges::any_of(text, IsForbiddenControl))
    return Err(ErrorCode::kMalformed, "a YAML text holds a control character");
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder;
    parser.HandleNextDocument(builder);
    Builder second;
    if (parser.HandleNextDocument(second))
      return Err(ErrorCode::kMalformed, "YAML: there is a second document");
    return builder.Take();
  } catch (const Refusal& refusal) {
    return Malformed(refusal.mark, refusal.reason);
  } catch (const YAML::Exception& exception) {
    return Malformed(exception.mark, exception.msg);
  }
}

}  // namespace cofferdam::model
