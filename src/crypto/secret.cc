#include "crypto/secret.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

namespace cofferdam::crypto {

SecretString::SecretString(std::string_view value)
    : bytes_(value.empty() ? nullptr : std::make_unique<char[]>(value.size())),
      size_(value.size()) {
  std::ranges::copy(value, bytes_.get());
}

SecretString SecretString::TakeAndWipe(std::string&& value) {
  SecretString secret(value);
  WipeString(value);
  return secret;
}

SecretString::SecretString(SecretString&& other) noexcept
    : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}

SecretString& SecretString::operator=(SecretString&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

SecretString::~SecretString() { Wipe(); }

void SecretString::Wipe() {
  if (bytes_ != nullptr) OPENSSL_cleanse(bytes_.get(), size_);
}

void WipeString(std::string& text) {
  // Beyond size() may lie what an earlier, longer value left.
  text.resize(text.capacity());
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace cofferdam::crypto
