#include "crypto/sha256.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace cofferdam::crypto {

Sha256Digest Sha256(std::string_view bytes) {
  Sha256Stream stream;
  stream.Update(bytes);
  return stream.Finish();
}

void Sha256Stream::ContextDeleter::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

// The digest calls fail only without memory or without OpenSSL's default provider; neither leaves
// anything to go on with.
Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  CHECK(context_ != nullptr);
  Begin();
}

void Sha256Stream::Begin() { CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1); }

void Sha256Stream::Update(std::string_view bytes) {
  CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256Stream::Finish() {
  Sha256Digest digest;
  unsigned int length = 0;
  CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1);
  CHECK(length == digest.size());
  Begin();
  return digest;
}

}  // namespace cofferdam::crypto
