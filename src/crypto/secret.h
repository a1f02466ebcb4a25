// Values that must not spread: passwords, tokens, keys.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

namespace cofferdam::crypto {

/// Owns secret bytes in one place of memory and wipes them when it dies or is assigned to.
/// Move-only, and a move leaves nothing behind. There is one way to the value, Reveal(), so that
/// every use of a secret can be found by that word; nothing that prints, logs, formats or
/// serialises takes one. Belongs to one thread, like a string.
///
///   SecretString token = SecretString::TakeAndWipe(std::move(line));
///   request.SetHeader("authorization", "Bearer " + std::string(token.Reveal()));
class SecretString {
 public:
  /// An empty value.
  SecretString() = default;
  /// Copies `value`; the caller's own copy remains the caller's to wipe.
  explicit SecretString(std::string_view value);
  /// Copies `value` and wipes the whole buffer of the string it came in.
  static SecretString TakeAndWipe(std::string&& value);

  SecretString(SecretString&& other) noexcept;
  SecretString& operator=(SecretString&& other) noexcept;
  SecretString(const SecretString&) = delete;
  SecretString& operator=(const SecretString&) = delete;
  ~SecretString();

  /// The value; valid until this object is changed or dies.
  std::string_view Reveal() const { return {bytes_.get(), size_}; }
  /// A second owner of the same value, where one really is needed.
  SecretString Clone() const { return SecretString(Reveal()); }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

 private:
  void Wipe();

  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

std::ostream& operator<<(std::ostream&, const SecretString&) = delete;

/// Overwrites the whole buffer of `text` in a way that no optimiser removes, and empties it.
void WipeString(std::string& text);

}  // namespace cofferdam::crypto
