// A provider that plays a script instead of asking a model: for trying the program without a key,
// and for tests of all that stands around a model. The format is in docs/scripted-provider.md.
#pragma once

#include <string_view>
#include <utility>

#include "model/provider.h"
#include "model/script.h"

namespace cofferdam::model {

/// Thread-safe and without state: which turn is played follows from the request alone. The case is
/// the first that fits the last user message that has text and no tool result; the turn's number is
/// that of the assistant messages after it. So a conversation can be resumed by another process,
/// and each user message begins a script anew.
///
/// What does not fit is kScriptMismatch, saying which turn, what was expected and what came.
class ScriptedProvider final : public Provider {
 public:
  explicit ScriptedProvider(Script script) : script_(std::move(script)) {}

  std::string_view name() const override { return "scripted"; }
  Result<Response> Stream(const Request& request, const EventSink& sink, Deadline deadline,
                          std::stop_token stop) override;

 private:
  const Script script_;
};

}  // namespace cofferdam::model
