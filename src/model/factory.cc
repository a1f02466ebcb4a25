#include "model/factory.h"

#include <utility>

#include "model/anthropic.h"
#include "model/script.h"
#include "model/scripted.h"

namespace cofferdam::model {
namespace {

Result<std::unique_ptr<Provider>> MakeAnthropic(ProviderConfig config, net::HttpClient& client,
                                                const Clock& clock) {
  if (!config.script_path.empty())
    return Err(ErrorCode::kConfig, "provider 'anthropic' takes no script");
  if (config.api_key.empty() && config.base_url.empty())
    return Err(ErrorCode::kConfig, "provider 'anthropic' has no API key",
               "give it one, or try 'scripted', which needs none");
  AnthropicOptions options;
  if (!config.base_url.empty()) options.base_url = std::move(config.base_url);
  options.api_key = std::move(config.api_key);
  return std::make_unique<AnthropicProvider>(std::move(options), client, clock);
}

Result<std::unique_ptr<Provider>> MakeScripted(const ProviderConfig& config) {
  if (!config.base_url.empty() || !config.api_key.empty())
    return Err(ErrorCode::kConfig, "provider 'scripted' takes neither base URL nor key");
  if (config.script_path.empty()) return std::make_unique<ScriptedProvider>(BuiltInScript());
  ASSIGN_OR_RETURN(Script script, LoadScript(config.script_path));
  return std::make_unique<ScriptedProvider>(std::move(script));
}

}  // namespace

Result<std::unique_ptr<Provider>> MakeProvider(ProviderConfig config, net::HttpClient& client,
                                               const Clock& clock) {
  if (config.name == "anthropic") return MakeAnthropic(std::move(config), client, clock);
  if (config.name == "scripted") return MakeScripted(config);
  return Err(ErrorCode::kConfig, "there is no provider of that name",
             "known are: anthropic, scripted");
}

}  // namespace cofferdam::model
