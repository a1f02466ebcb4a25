// SHA-256, FIPS 180-4.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

struct evp_md_ctx_st;

namespace cofferdam::crypto {

using Sha256Digest = std::array<std::uint8_t, 32>;

/// The digest of `bytes`. Thread-safe.
Sha256Digest Sha256(std::string_view bytes);

/// The digest of bytes that come in parts. Belongs to one thread.
///
///   Sha256Stream stream;
///   stream.Update("ab");
///   stream.Update("c");
///   Sha256Digest digest = stream.Finish();
class Sha256Stream {
 public:
  Sha256Stream();

  void Update(std::string_view bytes);
  /// The digest of everything so far. The stream then begins anew.
  Sha256Digest Finish();

 private:
  struct ContextDeleter {
    void operator()(evp_md_ctx_st* context) const;
  };
  void Begin();

  std::unique_ptr<evp_md_ctx_st, ContextDeleter> context_;
};

}  // namespace cofferdam::crypto
