// What an agent can do to the layers below its overlay, and to the overlay's own book-keeping in
// the upper: nothing.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "fixture.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using sandbox::Layer;

class OverlayAttacks : public EscapeTest {
 protected:
  void SetUp() override {
    EscapeTest::SetUp();
    ASSERT_EQ(::mkdir((files() / "project").c_str(), 0755), 0);
    ASSERT_EQ(::mkdir((files() / "project/folder").c_str(), 0755), 0);
    Write("project/file", "of the project\n");
    Write("project/folder/below", "of the project\n");
    ASSERT_NE(ShareOverlay(), nullptr);
  }

  void Write(const std::string& name, std::string_view text) {
    const auto fd = sys::Open(files() / name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(fd && sys::WriteAll(fd->get(), text)) << name;
  }

  static std::string Say(sandbox::LocalSandbox& sandbox, const std::string& line) {
    std::string said;
    const auto result =
        sandbox.Exec({.argv = {"/bin/sh", "-c", line}},
                     [&](sandbox::OutputStream, std::string_view bytes) { said += bytes; }, {});
    return result ? said : result.error().ToString();
  }

  // What the agent's files are to a sandbox with the same changes, mounted anew.
  std::string SayAnew(const std::string& line) {
    spec_.mounts[0].shared = nullptr;
    if (ShareOverlay() == nullptr) return "no overlay";
    const auto sandbox = Make();
    return sandbox != nullptr ? Say(*sandbox, line) : "no sandbox";
  }
};

TEST_F(OverlayAttacks, NothingThatIsDoneAboveChangesALayer) {
  const auto before = sys::Stat(sys::Open(files() / "project/file", O_PATH)->get());
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox,
                "exec 3<>file; echo above >&3; chmod 777 file folder; touch -d 2001-01-01 file;"
                "ln file link; echo through >> link; mv folder moved; rm moved/below; echo new > "
                "moved/below; rm file"),
            "");
  EXPECT_EQ(sys::ReadFile(files() / "project/file").value_or("gone"), "of the project\n");
  EXPECT_EQ(sys::ReadFile(files() / "project/folder/below").value_or("gone"), "of the project\n");
  const auto after = sys::Stat(sys::Open(files() / "project/file", O_PATH)->get());
  EXPECT_EQ(after->st_mode, before->st_mode);
  EXPECT_EQ(after->st_nlink, before->st_nlink);
  EXPECT_EQ(after->st_ctim.tv_nsec, before->st_ctim.tv_nsec);
}

TEST_F(OverlayAttacks, NobodyInsideForgesAWhiteout) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"make_whiteout"}).outcome, "errno EPERM");
  const auto bare = Make({Layer::kSeccomp, Layer::kLandlock});
  ASSERT_NE(bare, nullptr);
  EXPECT_EQ(Attack(*bare, {"make_whiteout"}).outcome, "errno EPERM") << "the overlay refuses, too";
  EXPECT_EQ(AttackOutside({"make_whiteout"}), "succeeded");
}

TEST_F(OverlayAttacks, AttributesThatAnOverlayWouldHeedHaveNoEffect) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Say(*sandbox, "echo text > folder/made"), "");
  for (const auto& [name, value] : {std::pair{"opaque", "y"}, {"redirect", "/"}}) {
    const std::string attribute = std::string("overlay.") + name;
    EXPECT_EQ(Attack(*sandbox, {"set_attribute", "folder", "trusted." + attribute, value}).outcome,
              "errno EPERM");
    // Either refused, or an attribute as any other, which depends on the kernel and on the user.
    Attack(*sandbox, {"set_attribute", "folder", "user." + attribute, value});
  }
  Attack(*sandbox, {"set_attribute", "folder/made", "user.overlay.whiteout", "y"});
  Attack(*sandbox, {"set_attribute", "folder/made", "user.overlay.metacopy", ""});
  EXPECT_EQ(SayAnew("cat folder/below folder/made; ls folder"),
            "of the project\ntext\nbelow\nmade\n");
}

TEST_F(OverlayAttacks, ControlAnAttributeFromOutsideTakesEffect) {
  EXPECT_EQ(Say(*Make(), "echo text > folder/made"), "");
  const std::string folder = files() / "changes/upper/folder";
  const char* name =
      sandbox::OverlaysAreTrusted() ? "trusted.overlay.opaque" : "user.overlay.opaque";
  ASSERT_EQ(::setxattr(folder.c_str(), name, "y", 1, 0), 0);
  EXPECT_EQ(SayAnew("ls folder"), "made\n");
}

}  // namespace
}  // namespace cofferdam::escape
