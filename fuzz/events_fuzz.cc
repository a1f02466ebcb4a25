// No bytes crash the verifier of event logs, and no record that it accepts stays acceptable when
// one of its bits is flipped.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "record/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const auto verify = [](std::string_view text) {
    return record::VerifyChain(storage::TextSource(text), record::TornTail::kRefuse);
  };
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto chain = verify(text);
  CHECK(chain || chain.error().code == ErrorCode::kCorrupt);
  // A header that no event is bound to can say anything.
  if (!chain || chain->events == 0) return 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char before = text[i];
    text[i] = static_cast<char>(before ^ (1 << i % 8));
    CHECK(!verify(text));
    text[i] = before;
  }
  return 0;
}
