#include "model/factory.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/testing/fake_clock.h"

namespace cofferdam::model {
namespace {

class MakeProviderTest : public testing::Test {
 protected:
  MakeProviderTest() {
    auto client = net::HttpClient::Create({});
    CHECK(client);
    client_ = std::move(*client);
  }
  Result<std::unique_ptr<Provider>> Make(ProviderConfig config) {
    return MakeProvider(std::move(config), *client_, clock_);
  }
  ErrorCode Refusal(ProviderConfig config) { return Make(std::move(config)).error().code; }

 private:
  std::unique_ptr<net::HttpClient> client_;
  FakeClock clock_;
};

TEST_F(MakeProviderTest, MakesWhatItKnows) {
  EXPECT_EQ((*Make({.name = "scripted"}))->name(), "scripted");
  EXPECT_EQ((*Make({.name = "anthropic", .api_key = crypto::SecretString("k")}))->name(),
            "anthropic");
  EXPECT_EQ((*Make({.name = "anthropic", .base_url = "http://127.0.0.1:1"}))->name(), "anthropic");
}

TEST_F(MakeProviderTest, RefusesUnknownNamesMissingKeysAndStrayMembers) {
  EXPECT_EQ(Refusal({}), ErrorCode::kConfig);
  EXPECT_EQ(Refusal({.name = "oracle"}), ErrorCode::kConfig);
  EXPECT_EQ(Refusal({.name = "anthropic"}), ErrorCode::kConfig);
  EXPECT_EQ(Refusal({.name = "anthropic", .base_url = "http://x", .script_path = "x"}),
            ErrorCode::kConfig);
  EXPECT_EQ(Refusal({.name = "scripted", .base_url = "http://x"}), ErrorCode::kConfig);
  EXPECT_EQ(Refusal({.name = "scripted", .api_key = crypto::SecretString("k")}),
            ErrorCode::kConfig);
  EXPECT_EQ(Refusal({.name = "scripted", .script_path = "/nowhere.yaml"}), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cofferdam::model
