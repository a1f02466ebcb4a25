// Providers by name.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "crypto/secret.h"
#include "model/provider.h"
#include "net/http_client.h"

namespace cofferdam::model {

/// How to reach one provider.
struct ProviderConfig {
  /// "anthropic" or "scripted".
  std::string name = {};
  /// Empty for the provider's own. A server of somebody else that speaks the same format may do
  /// without a key.
  std::string base_url = {};
  crypto::SecretString api_key = {};
  /// For "scripted": a file of docs/scripted-provider.md; empty for the built-in script.
  std::string script_path = {};
};

/// kConfig when the name is not known, a key is missing or a member does not belong to the
/// provider; what LoadScript says when the script is not good. `client` and `clock` are borrowed
/// and outlive the provider.
Result<std::unique_ptr<Provider>> MakeProvider(ProviderConfig config, net::HttpClient& client,
                                               const Clock& clock);

}  // namespace cofferdam::model
