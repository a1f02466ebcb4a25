// A rewind that was begun: <workspace>/rewind.json, docs/formats/rewind.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "platform/view_parts.h"

namespace cofferdam::platform {

struct RewindIntent {
  /// A UUID; its entries in the transcript and its checkpoint carry it as their run.
  std::string id;
  /// Empty: there is no conversation.
  std::string session = {};
  /// The turn that the conversation is to end with; nothing leaves it as it is.
  std::optional<std::int64_t> turn = {};
  /// What the model is told.
  std::string note = {};
  struct Files {
    ViewChoice choice;
    /// 0: an empty upper.
    std::int64_t checkpoint = 0;
    /// For the label of the checkpoint that is made.
    std::int64_t turn = 0;
    bool operator==(const Files&) const = default;
  };
  /// Nothing leaves them as they are.
  std::optional<Files> files = {};

  bool operator==(const RewindIntent&) const = default;
};

/// Pure.
std::string EncodeIntent(const RewindIntent& intent);
/// kCorrupt, saying what is wrong.
Result<RewindIntent> DecodeIntent(std::string_view bytes);

/// `workspace` is its folder. On disk when it returns; nothing when there is none; gone for good.
Status WriteIntent(int workspace, const RewindIntent& intent);
Result<std::optional<RewindIntent>> ReadIntent(int workspace);
Status RemoveIntent(int workspace);

}  // namespace cofferdam::platform
