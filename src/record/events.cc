#include "record/events.h"

#include <span>
#include <utility>

#include "base/utf8.h"
#include "crypto/hex.h"
#include "crypto/sha256.h"

namespace cofferdam::record {
namespace {

using json::Json;

NewEvent Make(std::string_view type, Json data) { return {std::string(type), std::move(data)}; }

Json Digest(std::string_view bytes) {
  return {{"bytes", bytes.size()}, {"sha256", crypto::HexEncode(crypto::Sha256(bytes))}};
}

Json ToJson(const Usage& usage) {
  return {{"input_tokens", usage.input_tokens},
          {"output_tokens", usage.output_tokens},
          {"cache_read_tokens", usage.cache_read_tokens},
          {"cache_write_tokens", usage.cache_write_tokens}};
}

Json ToJson(const std::optional<FileState>& state) {
  if (!state) return nullptr;
  return {{"sha256", state->sha256}, {"size", state->size}};
}

Json ToJson(const std::vector<SeenLayer>& layers) {
  Json list = Json::array();
  for (const SeenLayer& layer : layers)
    list.push_back({{"name", layer.name}, {"seen", layer.seen}, {"detail", layer.detail}});
  return list;
}

Json ToJson(const DiskLimit& disk) {
  return {{"mechanism", disk.mechanism}, {"bytes", disk.bytes}};
}

void PutPath(Json& data, std::string_view path) {
  data["path"] = ToValidUtf8(path);
  if (IsValidUtf8(path)) return;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(path.data());
  data["path_hex"] = crypto::HexEncode(std::span(bytes, path.size()));
}

Json ToJson(const LeftOut& left_out) {
  Json data = {{"why", left_out.why}, {"size", left_out.size}};
  PutPath(data, left_out.path);
  return data;
}

}  // namespace

NewEvent RunStarted(std::string_view model, std::string_view message) {
  return Make(kRunStarted, {{"model", model}, {"message", Digest(message)}});
}

NewEvent RunQueued() { return Make(kRunQueued, Json::object()); }

NewEvent SandboxMade(std::string_view sandbox, std::string_view kind, std::int64_t milliseconds,
                     const DiskLimit& disk) {
  return Make(kSandboxMade, {{"sandbox", sandbox},
                             {"kind", kind},
                             {"milliseconds", milliseconds},
                             {"disk", ToJson(disk)}});
}

NewEvent SandboxVerified(std::string_view sandbox, const std::vector<SeenLayer>& layers) {
  return Make(kSandboxVerified, {{"sandbox", sandbox}, {"layers", ToJson(layers)}});
}

NewEvent SandboxResumed(std::string_view sandbox, std::int64_t milliseconds,
                        const std::vector<SeenLayer>& layers, const DiskLimit& disk) {
  return Make(kSandboxResumed, {{"sandbox", sandbox},
                                {"milliseconds", milliseconds},
                                {"layers", ToJson(layers)},
                                {"disk", ToJson(disk)}});
}

NewEvent SandboxKept(std::string_view sandbox, std::string_view problem) {
  return Make(kSandboxKept,
              {{"sandbox", sandbox}, {"kept", problem.empty()}, {"problem", problem}});
}

NewEvent SandboxDeniedCalls(std::string_view sandbox, const std::vector<DeniedCall>& calls,
                            std::uint64_t others) {
  Json list = Json::array();
  for (const DeniedCall& denied : calls)
    list.push_back({{"syscall", denied.syscall},
                    {"call", denied.call},
                    {"answer", denied.answer},
                    {"count", denied.count}});
  return Make(kSandboxDeniedCalls,
              {{"sandbox", sandbox}, {"calls", std::move(list)}, {"others", others}});
}

NewEvent SandboxEnded(std::string_view sandbox, const std::optional<SandboxUse>& use) {
  const auto or_null = [](const std::optional<std::uint64_t>& micros) {
    return micros ? Json(*micros) : Json(nullptr);
  };
  Json used = nullptr;
  if (use)
    used = {{"memory_peak_bytes", use->memory_peak_bytes},
            {"cpu_micros", or_null(use->cpu_micros)},
            {"out_of_memory_kills", use->out_of_memory_kills},
            {"refused_forks", use->refused_forks},
            {"memory_pressure_micros", or_null(use->memory_pressure_micros)},
            {"cpu_pressure_micros", or_null(use->cpu_pressure_micros)},
            {"io_pressure_micros", or_null(use->io_pressure_micros)}};
  return Make(kSandboxEnded, {{"sandbox", sandbox}, {"used", std::move(used)}});
}

NewEvent ModelCalled(const ModelCall& call) {
  return Make(kModelCalled, {{"provider", call.provider},
                             {"model", call.model},
                             {"usage", ToJson(call.usage)},
                             {"stop_reason", call.stop_reason},
                             {"milliseconds", call.milliseconds}});
}

NewEvent ToolStarted(std::string_view id, std::string_view name, const Json& input) {
  const std::string text = json::Dump(input);
  Json data = {{"id", id}, {"name", name}, {"input_digest", Digest(text)}};
  if (text.size() <= kMaxRecordedInputBytes) data["input"] = input;
  return Make(kToolStarted, std::move(data));
}

NewEvent ToolEnded(const ToolOutcome& outcome, std::string_view result) {
  return Make(kToolEnded, {{"id", outcome.id},
                           {"name", outcome.name},
                           {"ok", outcome.ok},
                           {"exit_code", outcome.exit_code ? Json(*outcome.exit_code) : Json()},
                           {"milliseconds", outcome.milliseconds},
                           {"result", Digest(result)}});
}

NewEvent FileChanged(std::string_view path, const std::optional<FileState>& before,
                     const std::optional<FileState>& after, std::string_view kind) {
  Json data = {{"before", ToJson(before)}, {"after", ToJson(after)}};
  PutPath(data, path);
  if (!kind.empty()) data["kind"] = kind;
  return Make(kFileChanged, std::move(data));
}

NewEvent ViewOpened(std::string_view view, std::string_view project, std::string_view mode,
                    bool checkpoints) {
  Json data = {
      {"view", view}, {"project", nullptr}, {"mode", nullptr}, {"checkpoints", checkpoints}};
  if (!project.empty()) {
    data["project"] = ToValidUtf8(project);
    data["mode"] = mode;
  }
  return Make(kViewOpened, std::move(data));
}

NewEvent CheckpointTaken(const Checkpoint& checkpoint) {
  Json left_out = Json::array();
  for (const LeftOut& one : checkpoint.left_out) left_out.push_back(ToJson(one));
  return Make(kCheckpointTaken, {{"checkpoint", checkpoint.id},
                                 {"view", checkpoint.view},
                                 {"reason", checkpoint.reason},
                                 {"turn", checkpoint.turn},
                                 {"changed", checkpoint.changed},
                                 {"not_listed", checkpoint.not_listed},
                                 {"left_out", std::move(left_out)},
                                 {"left_out_count", checkpoint.left_out_count},
                                 {"frozen", checkpoint.frozen}});
}

NewEvent ErrorHappened(std::string_view code, std::string_view message) {
  return Make(kError, {{"code", code}, {"message", message}});
}

NewEvent RunEnded(const RunOutcome& outcome) {
  return Make(kRunEnded, {{"outcome", outcome.outcome},
                          {"usage", ToJson(outcome.usage)},
                          {"model_calls", outcome.model_calls},
                          {"tool_calls", outcome.tool_calls},
                          {"milliseconds", outcome.milliseconds}});
}

}  // namespace cofferdam::record
