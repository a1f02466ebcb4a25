// Whatever an agent does, in a plain directory or through an overlay, going back to a checkpoint
// gives what a naive copy kept of it.
#include <sys/mount.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <random>

#include <gmock/gmock.h>

#include "projects/checkpoints.h"
#include "projects/testing/files.h"
#include "projects/testing/upper_ground.h"

namespace cofferdam::projects {
namespace {

namespace fs = std::filesystem;

/// Does things at random below a directory. What cannot be done is left.
class Agent {
 public:
  Agent(std::string root, std::mt19937& random) : root_(std::move(root)), random_(random) {}

  void Act() {
    const std::string path = Anything();
    switch (Draw(13)) {
      case 0:
      case 1:
        return Write(path, std::ios::trunc);
      case 2:
        return Write(path, std::ios::app);
      case 3:
        ::mkdir(path.c_str(), 0755);
        return;
      case 4:
        fs::remove_all(path, ignored_);
        return;
      case 5:  // what an overlay calls opaque
        fs::remove_all(path, ignored_);
        ::mkdir(path.c_str(), 0700);
        return Write(path + "/" + Name(), std::ios::trunc);
      case 6:
      case 7:
        ::rename(path.c_str(), Anything().c_str());
        return;
      case 8:
        fs::create_symlink(Name(), path, ignored_);
        return;
      case 9:
        fs::create_hard_link(path, Anything(), ignored_);
        return;
      case 10:
        if (!fs::is_symlink(path, ignored_)) ::chmod(path.c_str(), Modes()[Draw(Modes().size())]);
        return;
      case 11:
        if (fs::is_regular_file(fs::symlink_status(path, ignored_)))
          fs::resize_file(path, Draw(100'000), ignored_);
        return;
      default:
        if (!fs::is_symlink(path, ignored_))
          fs::last_write_time(path, fs::file_time_type(std::chrono::seconds(Draw(1000))), ignored_);
    }
  }

  static void Populate(const std::string& root, std::mt19937& random) {
    for (const char* directory : {"/a", "/a/b", "/c", "/c/a", "/c/b"})
      CHECK(::mkdir((root + directory).c_str(), 0755) == 0);
    Agent agent(root, random);
    for (int i = 0; i < 20; ++i) agent.Write(agent.Anything(), std::ios::trunc);
  }

 private:
  std::size_t Draw(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }
  static const std::vector<mode_t>& Modes() {
    static const std::vector<mode_t> modes = {0, 0644, 0755, 04755, 02775, 01777, 0500};
    return modes;
  }
  std::string Name() {
    static const std::vector<std::string> names = {"a", "b", "c", "a-b", "\xff\n", "d"};
    return names[Draw(names.size())];
  }
  /// A path of up to three names. Most directories are links, too, once in a while: what leads
  /// through a link stays below the root, since links point to names.
  std::string Anything() {
    std::string path = root_;
    for (std::size_t depth = Draw(3) + 1; depth > 0; --depth) path += "/" + Name();
    return path;
  }
  void Write(const std::string& path, std::ios::openmode mode) {
    std::ofstream(path, mode) << std::string(Draw(3000), static_cast<char>('a' + Draw(26)));
  }

  std::string root_;
  std::mt19937& random_;
  std::error_code ignored_;
};

/// An overlay whose upper is the ground's, or the upper itself.
class Place {
 public:
  Place(const UpperGround& ground, std::mt19937& random) : ground_(ground) {
    if (ground.upper().format == UpperFormat::kPlain) return;
    for (const char* name : {"lower", "work", "merged"}) fs::create_directory(Below(name));
    Agent::Populate(Below("lower"), random);
    Mount();
  }
  ~Place() { Unmount(); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::string root() const { return is_mounted_ ? Below("merged") : ground_ / ""; }

  /// While nobody has it mounted.
  void WhileUnmounted(const std::function<void()>& body) {
    const bool was_mounted = is_mounted_;
    Unmount();
    body();
    if (was_mounted) Mount();
  }

 private:
  std::string Below(const std::string& name) const { return ground_.folder() + "/" + name; }
  void Mount() {
    std::string options =
        "lowerdir=" + Below("lower") + ",upperdir=" + Below("upper") + ",workdir=" + Below("work");
    options += ground_.upper().format == UpperFormat::kTrusted ? ",redirect_dir=on" : ",userxattr";
    CHECK(::mount("overlay", Below("merged").c_str(), "overlay", 0, options.c_str()) == 0);
    is_mounted_ = true;
  }
  void Unmount() {
    if (is_mounted_) CHECK(::umount(Below("merged").c_str()) == 0);
    is_mounted_ = false;
  }

  const UpperGround& ground_;
  bool is_mounted_ = false;
};

struct Kept {
  Picture upper;
  Picture merged;
};

class History {
 public:
  History(UpperFormat format, unsigned seed)
      : random_(seed), ground_(format), place_(ground_, random_), checkpoints_(Open()) {
    pictures_[0] = Look();
  }

  void Work() {
    Agent agent(place_.root(), random_);
    for (unsigned action = 1 + random_() % 8; action > 0; --action) agent.Act();
    if (random_() % 4 == 0) checkpoints_ = Open();
    const auto taken = checkpoints_->Take("work", ground_.upper(), {.reason = "turn"});
    ASSERT_TRUE(taken) << taken.error().ToString();
    ASSERT_THAT(taken->left_out, testing::IsEmpty());
    if (taken->checkpoint) last_ = taken->checkpoint->id;
    const Kept now = Look();
    if (taken->checkpoint)
      pictures_[last_] = now;
    else
      EXPECT_EQ(pictures_[last_].upper, now.upper) << "a change was not seen";
  }

  void GoBack() {
    auto wanted = pictures_.begin();
    std::advance(wanted, random_() % pictures_.size());
    place_.WhileUnmounted([&] {
      const auto restored =
          checkpoints_->Restore("work", wanted->first, ground_.upper(), {.reason = "rewind"});
      ASSERT_TRUE(restored) << restored.error().ToString();
      EXPECT_THAT(restored->left_out, testing::IsEmpty());
      last_ = restored->checkpoint.id;
    });
    const Kept now = Look();
    EXPECT_EQ(now.upper, wanted->second.upper) << "of checkpoint " << wanted->first;
    EXPECT_EQ(now.merged, wanted->second.merged) << "of checkpoint " << wanted->first;
    pictures_[last_] = now;
  }

 private:
  std::unique_ptr<Checkpoints> Open() { return std::make_unique<Checkpoints>(ground_.Open()); }
  Kept Look() const { return {ground_.Look(), PictureOf(place_.root())}; }

  std::mt19937 random_;
  UpperGround ground_;
  Place place_;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::map<std::int64_t, Kept> pictures_;
  std::int64_t last_ = 0;
};

class RestoreProperty : public testing::TestWithParam<UpperFormat> {};

TEST_P(RestoreProperty, GivesWhatANaiveCopyKept) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to mount overlays";
  const OwnMounts mounts;
  for (unsigned seed = 0; seed < 5 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(GetParam(), seed);
    for (int step = 0; step < 12; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      history.Work();
      if (step % 3 == 2) history.GoBack();
    }
    for (int step = 0; step < 8; ++step) history.GoBack();
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, RestoreProperty,
                         testing::Values(UpperFormat::kPlain, UpperFormat::kTrusted,
                                         UpperFormat::kUser),
                         [](const auto& parameter) {
                           const UpperFormat format = parameter.param;
                           return format == UpperFormat::kPlain     ? "Plain"
                                  : format == UpperFormat::kTrusted ? "Trusted"
                                                                    : "User";
                         });

}  // namespace
}  // namespace cofferdam::projects
