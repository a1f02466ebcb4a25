#include "projects/object_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "storage/testing/file_size_limit.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 40;

std::string IdOf(std::string_view bytes) { return crypto::HexEncode(crypto::Sha256(bytes)); }

class ObjectStoreTest : public testing::Test {
 protected:
  ObjectStore OpenStore() const {
    const std::string path = folder_ / "objects";
    fs::create_directory(path);
    return ObjectStore(*sys::Open(path, O_PATH | O_DIRECTORY));
  }
  sys::UniqueFd NewFile(const std::string& name, const std::string& bytes = {}) const {
    std::ofstream(folder_ / name) << bytes;
    return *sys::Open(folder_ / name, O_RDWR);
  }
  ObjectId Stored(const std::string& bytes) {
    const auto id = store_.AddBytes(bytes);
    EXPECT_TRUE(id && store_.Sync());
    return id.value_or("");
  }
  std::string Content(const ObjectId& id) const {
    const auto opened = store_.Open(id);
    return opened ? *sys::ReadAll(opened->get(), 1 << 20) : opened.error().ToString();
  }
  std::string PathOf(const ObjectId& id) const {
    return folder_ / ("objects/" + id.substr(0, 2) + "/" + id.substr(2));
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "objects"))
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder_ / "objects"));
    return files;
  }

  sys::TempDir folder_;
  ObjectStore store_ = OpenStore();
};

TEST_F(ObjectStoreTest, GivesBackWhatWasAddedUnderItsHash) {
  const sys::UniqueFd file = NewFile("a", "hello");
  ASSERT_EQ(::lseek(file.get(), 3, SEEK_SET), 3);
  const auto id = store_.Add(file.get(), kNoLimit);
  ASSERT_TRUE(id) << id.error().ToString();
  EXPECT_EQ(*id, IdOf("hello"));
  ASSERT_TRUE(store_.Sync());
  EXPECT_EQ(Content(*id), "hello");
  EXPECT_EQ(store_.SizeOf(*id), 5U);
  struct stat info;
  ASSERT_EQ(::stat(PathOf(*id).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400U);
}

TEST_F(ObjectStoreTest, HasNothingBeforeItIsSynced) {
  const auto id = store_.AddBytes("early");
  ASSERT_TRUE(id);
  EXPECT_EQ(store_.SizeOf(*id), 5U);
  EXPECT_EQ(store_.Open(*id).error().code, ErrorCode::kNotFound);
  {
    const ObjectStore gone = std::move(store_);
  }
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(ObjectStoreTest, KeepsOneOfTheSameContent) {
  ASSERT_TRUE(store_.AddBytes("same"));
  ASSERT_TRUE(store_.AddBytes("same"));
  ASSERT_TRUE(store_.Sync());
  ObjectStore other = OpenStore();
  ASSERT_TRUE(other.AddBytes("same"));
  ASSERT_TRUE(other.Sync());
  EXPECT_EQ(Files().size(), 1U);
}

TEST_F(ObjectStoreTest, TakesAsMuchAsIsAllowedAndNoMore) {
  const sys::UniqueFd file = NewFile("a", "12345");
  EXPECT_TRUE(store_.Add(file.get(), 5));
  EXPECT_EQ(store_.Add(file.get(), 4).error().code, ErrorCode::kTooLarge);
  // A hole counts, at the end and before data.
  ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
  EXPECT_EQ(store_.Add(file.get(), 1 << 19).error().code, ErrorCode::kTooLarge);
  ASSERT_EQ(::pwrite(file.get(), "x", 1, 1 << 20), 1);
  EXPECT_EQ(store_.Add(file.get(), 1 << 19).error().code, ErrorCode::kTooLarge);
  ASSERT_TRUE(store_.Sync());
  EXPECT_EQ(Files().size(), 1U);
}

TEST_F(ObjectStoreTest, LeavesHolesHolesBothWays) {
  const sys::UniqueFd file = NewFile("sparse");
  constexpr std::size_t kSize = 8 << 20;
  ASSERT_EQ(::pwrite(file.get(), "middle", 6, kSize / 2), 6);
  ASSERT_EQ(::ftruncate(file.get(), kSize), 0);
  std::string bytes(kSize, '\0');
  bytes.replace(kSize / 2, 6, "middle");
  const auto id = store_.Add(file.get(), kNoLimit);
  ASSERT_TRUE(id);
  EXPECT_EQ(*id, IdOf(bytes));
  ASSERT_TRUE(store_.Sync());
  const sys::UniqueFd copy = NewFile("copy");
  ASSERT_TRUE(store_.CopyTo(*id, copy.get()));
  EXPECT_EQ(*sys::ReadAll(copy.get(), kSize), bytes);
  for (const std::string& path : {PathOf(*id), folder_ / "copy"}) {
    struct stat info;
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_size, static_cast<off_t>(kSize));
    EXPECT_LT(info.st_blocks * 512, 1 << 20) << path;
  }
}

TEST_F(ObjectStoreTest, SaysThatAContentIsDamaged) {
  const ObjectId id = Stored("good");
  ASSERT_EQ(::chmod(PathOf(id).c_str(), 0600), 0);
  std::ofstream(PathOf(id)) << "evil";
  const sys::UniqueFd copy = NewFile("copy");
  const Status copied = store_.CopyTo(id, copy.get());
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code, ErrorCode::kCorrupt);
}

TEST_F(ObjectStoreTest, KnowsWhatIsNoObjectsName) {
  for (const std::string& id : {std::string(), std::string("../../etc/passwd"),
                                std::string(64, 'G'), std::string(63, 'a'), std::string(64, 'A')}) {
    EXPECT_EQ(store_.Open(id).error().code, ErrorCode::kInvalidArgument) << id;
    EXPECT_EQ(store_.SizeOf(id).error().code, ErrorCode::kInvalidArgument) << id;
  }
  EXPECT_EQ(store_.Open(IdOf("nobody")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_.SizeOf(IdOf("nobody")).error().code, ErrorCode::kNotFound);
}

TEST_F(ObjectStoreTest, CollectsWhatNobodyUsesAndWhatAKilledWriterLeft) {
  const ObjectId used = Stored("used");
  const ObjectId unused = Stored("unused");
  std::ofstream(folder_ / "objects/.tmp-killed") << "abc";
  const auto freed = store_.Collect([&](const ObjectId& id) { return id == used; });
  ASSERT_TRUE(freed) << freed.error().ToString();
  EXPECT_EQ(*freed, 9U);
  EXPECT_THAT(Files(), UnorderedElementsAre(used.substr(0, 2) + "/" + used.substr(2)));
}

TEST_F(ObjectStoreTest, CollectsNothingWhileSomebodyAdds) {
  ObjectStore other = OpenStore();
  const auto id = other.AddBytes("new");
  const auto collected = store_.Collect([](const ObjectId&) { return false; });
  ASSERT_FALSE(collected);
  EXPECT_EQ(collected.error().code, ErrorCode::kBusy);
  ASSERT_TRUE(other.Sync());
  EXPECT_EQ(Content(*id), "new");
  EXPECT_EQ(store_.Collect([](const ObjectId&) { return false; }), 3U);
}

TEST_F(ObjectStoreTest, GivesTheHashOfWhatItStoredThoughTheFileChanges) {
  const std::string bytes(4 << 20, 'a');
  const sys::UniqueFd file = NewFile("changing", bytes);
  std::jthread writer([&](const std::stop_token& stop) {
    for (unsigned turn = 0; !stop.stop_requested(); ++turn) {
      const std::string part(1 << 16, static_cast<char>('b' + turn % 20));
      EXPECT_EQ(::pwrite(file.get(), part.data(), part.size(), (turn * 7919L) % (4 << 20)),
                static_cast<ssize_t>(part.size()));
      EXPECT_EQ(::ftruncate(file.get(), (turn % 2 == 0 ? 3 : 5) << 20), 0);
    }
  });
  for (int i = 0; i < 20; ++i) {
    const auto id = store_.Add(file.get(), kNoLimit);
    ASSERT_TRUE(id) << id.error().ToString();
    ASSERT_TRUE(store_.Sync());
    const sys::UniqueFd copy = NewFile("copy");
    EXPECT_TRUE(store_.CopyTo(*id, copy.get()));
  }
}

TEST_F(ObjectStoreTest, AddsFromSeveralThreads) {
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 50; ++i)
        EXPECT_TRUE(store_.AddBytes(std::to_string(i % 2 == 0 ? i : i * 4 + thread)) &&
                    (i % 10 != 0 || store_.Sync()));
    });
  threads.clear();
  ASSERT_TRUE(store_.Sync());
  for (int i = 0; i < 50; i += 2) EXPECT_EQ(Content(IdOf(std::to_string(i))), std::to_string(i));
}

TEST_F(ObjectStoreTest, SyncsManyAtOnce) {
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(store_.AddBytes(std::to_string(i)));
  ASSERT_TRUE(store_.Sync());
  EXPECT_EQ(Files().size(), 300U);
  EXPECT_EQ(Content(IdOf("299")), "299");
}

TEST_F(ObjectStoreTest, LeavesNothingOfWhatDoesNotFitOnTheDisk) {
  const sys::UniqueFd file = NewFile("big", std::string(100'000, 'x'));
  EXPECT_TRUE(storage::InChildWithFileSizeLimit(
      50'000, [&] { return !store_.Add(file.get(), kNoLimit) && Files().empty(); }));
  EXPECT_TRUE(store_.Add(file.get(), kNoLimit));
}

TEST_F(ObjectStoreTest, CopiesAFileWithItsHoles) {
  const sys::UniqueFd from = NewFile("from", "start");
  ASSERT_EQ(::ftruncate(from.get(), 4 << 20), 0);
  const sys::UniqueFd to = NewFile("to");
  ASSERT_TRUE(CopyContent(from.get(), to.get()));
  const auto info = sys::Stat(to.get());
  EXPECT_EQ(info->st_size, 4 << 20);
  EXPECT_LT(info->st_blocks * 512, 1 << 20);
}

TEST_F(ObjectStoreTest, RemovesWhatAKilledWriterLeftAndNothingThatIsBeingAdded) {
  const ObjectId kept = Stored("kept");
  std::ofstream(folder_ / "objects/.tmp-left") << "half";
  ObjectStore other = OpenStore();
  ASSERT_TRUE(other.AddBytes("being added"));
  ASSERT_TRUE(store_.RemoveLeftovers());
  EXPECT_EQ(Files().size(), 3U) << "somebody adds";
  other.Discard();
  ASSERT_TRUE(store_.RemoveLeftovers());
  EXPECT_EQ(Files().size(), 1U);
  EXPECT_EQ(Content(kept), "kept");
}

}  // namespace
}  // namespace cofferdam::projects
