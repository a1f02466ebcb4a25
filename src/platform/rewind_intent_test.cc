#include "platform/rewind_intent.h"

#include <fcntl.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

RewindIntent Whole() {
  return {.id = "r",
          .session = "s",
          .turn = 3,
          .note = "a note",
          .files = RewindIntent::Files{.choice = {.view = "0011223344556677",
                                                  .project = "/srv/p",
                                                  .mode = projects::ProjectMode::kCopy},
                                       .checkpoint = 7,
                                       .turn = 3}};
}

TEST(RewindIntent, IsReadAsItWasWritten) {
  for (const RewindIntent& intent : {Whole(), RewindIntent{.id = "r"}})
    EXPECT_EQ(*DecodeIntent(EncodeIntent(intent)), intent);
}

TEST(RewindIntent, WhatIsNoneIsDamage) {
  for (const std::string bytes :
       {"", "{", "{}", R"({"format":2,"id":"r","session":"","note":""})",
        R"({"format":1,"id":"r","session":"","note":"","files":{"view":"work"}})",
        R"({"format":1,"id":"r","session":"","note":"","turn":-1})"})
    EXPECT_EQ(DecodeIntent(bytes).error().code, ErrorCode::kCorrupt) << bytes;
}

TEST(RewindIntent, IsOnDiskUntilItIsRemoved) {
  const sys::TempDir temp;
  const sys::UniqueFd folder = *sys::Open(temp.path(), O_PATH | O_DIRECTORY);
  EXPECT_EQ(*ReadIntent(folder.get()), std::nullopt);
  ASSERT_TRUE(WriteIntent(folder.get(), Whole()));
  EXPECT_EQ(*ReadIntent(folder.get()), Whole());
  ASSERT_TRUE(RemoveIntent(folder.get()));
  EXPECT_EQ(*ReadIntent(folder.get()), std::nullopt);
  EXPECT_TRUE(RemoveIntent(folder.get()));
}

}  // namespace
}  // namespace cofferdam::platform
