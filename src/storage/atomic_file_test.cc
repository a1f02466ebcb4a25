#include "storage/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include <gtest/gtest.h>

#include "storage/testing/file_size_limit.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::storage {
namespace {

class WriteFileAtomicallyTest : public testing::Test {
 protected:
  std::vector<std::string> Names() const { return *sys::ListDirectory(directory_.get()); }
  std::string Text(std::string_view name) const { return *sys::ReadFile(temp_ / name); }

  const sys::TempDir temp_;
  const sys::UniqueFd directory_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(WriteFileAtomicallyTest, ReplacesTheWholeFileAndLeavesNothingElse) {
  ASSERT_TRUE(WriteFileAtomically(directory_.get(), "f", "a long old text", 0600));
  ASSERT_TRUE(WriteFileAtomically(directory_.get(), "f", "new", 0600));
  EXPECT_EQ(Text("f"), "new");
  EXPECT_EQ(Names(), std::vector<std::string>{"f"});
}

TEST_F(WriteFileAtomicallyTest, TakesAPath) {
  ASSERT_TRUE(WriteFileAtomically(temp_ / "f", "text", 0600));
  EXPECT_EQ(Text("f"), "text");
  EXPECT_EQ(WriteFileAtomically(temp_ / "missing/f", "text", 0600).error().code,
            ErrorCode::kNotFound);
  EXPECT_EQ(WriteFileAtomically(temp_ / "f/", "text", 0600).error().code, ErrorCode::kNotFound);
}

TEST_F(WriteFileAtomicallyTest, GivesExactlyTheModeWhateverTheUmask) {
  const mode_t before = ::umask(0077);
  const Status written = WriteFileAtomically(directory_.get(), "f", "", 0644);
  ::umask(before);
  ASSERT_TRUE(written);
  struct stat info;
  ASSERT_EQ(::stat((temp_ / "f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
}

TEST_F(WriteFileAtomicallyTest, ReplacesASymbolicLinkInsteadOfFollowingIt) {
  ASSERT_TRUE(WriteFileAtomically(directory_.get(), "target", "kept", 0600));
  ASSERT_EQ(::symlink("target", (temp_ / "link").c_str()), 0);
  ASSERT_TRUE(WriteFileAtomically(directory_.get(), "link", "new", 0600));
  EXPECT_EQ(Text("target"), "kept");
  EXPECT_EQ(Text("link"), "new");
}

TEST_F(WriteFileAtomicallyTest, RefusesANameThatIsNotOneComponent) {
  for (const std::string& name : {std::string("a/b"), std::string("../f"), std::string(".."),
                                  std::string(), std::string("a\0b", 3)})
    EXPECT_EQ(WriteFileAtomically(directory_.get(), name, "x", 0600).error().code,
              ErrorCode::kInvalidArgument);
}

TEST_F(WriteFileAtomicallyTest, KeepsTheOldFileAndNoOtherWhenTheDiskIsFull) {
  ASSERT_TRUE(WriteFileAtomically(directory_.get(), "f", "old", 0600));
  EXPECT_TRUE(InChildWithFileSizeLimit(1000, [&] {
    return !WriteFileAtomically(directory_.get(), "f", std::string(5000, 'x'), 0600);
  }));
  EXPECT_EQ(Text("f"), "old");
  EXPECT_EQ(Names(), std::vector<std::string>{"f"});
}

}  // namespace
}  // namespace cofferdam::storage
