// Whatever is taken for a base index is one, and is written again as the very same bytes. The
// checksum is put right first: it finds damage, not malice.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "crypto/sha256.h"
#include "projects/base_index.h"

namespace {

using namespace cofferdam;

void Check(const std::string& bytes) {
  const auto index = projects::BaseIndex::Decode(bytes);
  if (!index) {
    CHECK(index.error().code == ErrorCode::kCorrupt);
    return;
  }
  CHECK(index->Encode() == bytes);
  for (const auto& [path, entry] : index->entries()) {
    CHECK(!path.empty() && path.front() != '/' && path.back() != '/');
    CHECK(("/" + path + "/").find("/../") == std::string::npos);
    CHECK(path.find('\0') == std::string::npos);
    CHECK(entry.mode <= 0777 && entry.kind != projects::NodeKind::kWhiteout);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  Check(bytes);
  const crypto::Sha256Digest digest = crypto::Sha256(bytes);
  Check(bytes.append(reinterpret_cast<const char*>(digest.data()), digest.size()));
  return 0;
}
