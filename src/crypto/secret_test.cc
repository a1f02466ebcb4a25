#include "crypto/secret.h"

#include <algorithm>
#include <concepts>
#include <cstdlib>
#include <new>
#include <ostream>
#include <type_traits>
#include <utility>

#include <gtest/gtest.h>

#include "json/json.h"
#include "log/field.h"

namespace {

// What the allocator is given back at one watched place, seen by this program's own operator
// delete.
struct Watch {
  const void* place = nullptr;
  std::size_t size = 0;
  bool given_back = false;
  bool was_wiped = false;
};
Watch watch;

}  // namespace

void* operator new[](std::size_t size) {
  void* place = std::malloc(size);
  if (place == nullptr) throw std::bad_alloc();
  return place;
}

void operator delete[](void* place) noexcept {
  if (place != nullptr && place == watch.place) {
    watch.given_back = true;
    watch.was_wiped = std::ranges::all_of(static_cast<const char*>(place),
                                          static_cast<const char*>(place) + watch.size,
                                          [](char c) { return c == '\0'; });
    watch.place = nullptr;
  }
  std::free(place);
}

void operator delete[](void* place, std::size_t) noexcept { operator delete[](place); }

namespace cofferdam::crypto {
namespace {

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
template <typename T>
concept Appendable = requires(std::string& text, const T& value) { text += value; };

static_assert(Printable<std::string> && Appendable<std::string>);
static_assert(!Printable<SecretString> && !Appendable<SecretString>);
static_assert(!std::is_copy_constructible_v<SecretString>);
static_assert(!std::is_copy_assignable_v<SecretString>);
static_assert(!std::is_convertible_v<SecretString, std::string_view>);
static_assert(!std::is_constructible_v<std::string, SecretString>);
static_assert(!std::is_constructible_v<json::Json, SecretString>);
static_assert(!std::equality_comparable<SecretString>);
static_assert(!log::Loggable<SecretString>);

TEST(SecretString, RevealsWhatItWasGiven) {
  EXPECT_EQ(SecretString("hunter2").Reveal(), "hunter2");
  EXPECT_EQ(SecretString(std::string_view("a\0b", 3)).size(), 3u);
  EXPECT_TRUE(SecretString().empty());
  EXPECT_EQ(SecretString("").Reveal(), "");
}

TEST(SecretString, IsEmptyAfterAMoveAndTheValueStaysWhereItWas) {
  SecretString first("hunter2");
  const char* place = first.Reveal().data();
  SecretString second = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_EQ(second.Reveal().data(), place);
  SecretString third("old");
  third = std::move(second);
  EXPECT_EQ(third.Reveal(), "hunter2");
}

TEST(SecretString, CloneIsAValueOfItsOwn) {
  SecretString first("hunter2");
  const SecretString second = first.Clone();
  first = SecretString();
  EXPECT_EQ(second.Reveal(), "hunter2");
}

TEST(SecretString, WipesItsBytesBeforeItGivesThemBack) {
  {
    const SecretString secret("hunter2");
    watch = Watch{.place = secret.Reveal().data(), .size = secret.size()};
  }
  EXPECT_TRUE(watch.given_back);
  EXPECT_TRUE(watch.was_wiped);

  SecretString assigned("hunter2");
  watch = Watch{.place = assigned.Reveal().data(), .size = assigned.size()};
  assigned = SecretString("other");
  EXPECT_TRUE(watch.given_back);
  EXPECT_TRUE(watch.was_wiped);
}

TEST(WipeString, ClearsTheWholeBuffer) {
  std::string text = "hunter2 and more than a short string holds";
  const std::size_t capacity = text.capacity();
  const char* place = text.data();
  text.resize(3);
  WipeString(text);
  ASSERT_EQ(text.data(), place);
  EXPECT_EQ(std::string_view(place, capacity), std::string(capacity, '\0'));
}

TEST(SecretString, TakeAndWipeLeavesNothingInTheSource) {
  std::string source = "hunter2";
  const SecretString secret = SecretString::TakeAndWipe(std::move(source));
  EXPECT_EQ(secret.Reveal(), "hunter2");
  // The short string's buffer is inside the object, so it can be read after the move.
  EXPECT_EQ(std::string_view(source.data(), 7), std::string(7, '\0'));  // NOLINT
}

}  // namespace
}  // namespace cofferdam::crypto
