#include "storage/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Sql kFirst = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE) STRICT";
constexpr Sql kSecond =
    "CREATE TABLE other (id INTEGER PRIMARY KEY) STRICT; INSERT INTO other VALUES (7)";
constexpr Sql kInsert = "INSERT INTO thing (id, name) VALUES (?1, ?2)";

void Put(const std::string& path, std::string_view bytes) {
  const sys::UniqueFd fd = *sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_TRUE(sys::WriteAll(fd.get(), bytes));
}

class SqliteTest : public testing::Test {
 protected:
  Result<Database> Open(std::vector<Sql> migrations = {kFirst}) {
    return Database::Open(path_, migrations);
  }
  ErrorCode Refusal(const std::vector<Sql>& migrations = {kFirst}) {
    const auto database = Open(migrations);
    return database ? ErrorCode::kInternal : database.error().code;
  }
  static std::vector<std::string> Names(Database& database) {
    std::vector<std::string> names;
    EXPECT_TRUE(database.Run("SELECT name FROM thing ORDER BY id", {},
                             [&](const Row& row) { names.push_back(row.Text(0)); }));
    return names;
  }
  static std::vector<std::string> Names(Result<Database> database) { return Names(*database); }
  std::vector<std::string> Files() {
    const sys::UniqueFd directory = *sys::Open(temp_.path(), O_RDONLY | O_DIRECTORY);
    return *sys::ListDirectory(directory.get());
  }
  sys::TempDir temp_;
  std::string path_ = temp_ / "x.db";
};

TEST_F(SqliteTest, IsMadeWholeForItsOwnerOnly) {
  ASSERT_TRUE(Open());
  EXPECT_THAT(Files(), ElementsAre("x.db"));
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  // While it is open, so are the files beside it.
  auto database = Open();
  ASSERT_TRUE(database->Run(kInsert, {1, "a"}));
  ASSERT_EQ(::stat((path_ + "-wal").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST_F(SqliteTest, KeepsValuesAsTheyAre) {
  auto database = Open();
  ASSERT_TRUE(database) << database.error().ToString();
  const std::string odd("'; DROP TABLE thing; --\0é", 26);
  ASSERT_TRUE(database->Run(kInsert, {INT64_MIN, odd}));
  ASSERT_TRUE(database->Run(kInsert, {INT64_MAX, nullptr}));
  EXPECT_EQ(database->changes(), 1);
  EXPECT_THAT(Names(*database), ElementsAre(odd, ""));
}

TEST_F(SqliteTest, WhatMustBeUniqueSaysSoWithSqlitesOwnCode) {
  auto database = Open();
  ASSERT_TRUE(database->Run(kInsert, {1, "a"}));
  const Status again = database->Run(kInsert, {2, "a"});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kAlreadyExists);
  EXPECT_THAT(again.error().message, HasSubstr(std::to_string(SQLITE_CONSTRAINT_UNIQUE)));
  // The statement is as good as new.
  EXPECT_TRUE(database->Run(kInsert, {2, "b"}));
}

TEST_F(SqliteTest, AFailedTransactionLeavesNothing) {
  auto database = Open();
  const Status failed = database->Transaction([&]() -> Status {
    RETURN_IF_ERROR(database->Run(kInsert, {1, "a"}));
    return database->Run(kInsert, {1, "b"});
  });
  EXPECT_FALSE(failed);
  EXPECT_THAT(Names(*database), IsEmpty());
  ASSERT_TRUE(database->Transaction([&] { return database->Run(kInsert, {1, "a"}); }));
  EXPECT_THAT(Names(Open()), ElementsAre("a"));
}

TEST_F(SqliteTest, ConnectionsWaitForEachOther) {
  ASSERT_TRUE(Open());
  constexpr int kEach = 20;
  std::vector<std::jthread> threads;
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([this] {
      auto database = Open();
      for (int i = 0; i < kEach; ++i)
        EXPECT_TRUE(database->Transaction([&]() -> Status {
          std::int64_t next = 0;
          RETURN_IF_ERROR(database->Run("SELECT count(*) FROM thing", {},
                                        [&](const Row& row) { next = row.Integer(0); }));
          return database->Run(kInsert, {next, nullptr});
        }));
    });
  threads.clear();
  EXPECT_EQ(Names(Open()).size(), 4U * kEach);
}

TEST_F(SqliteTest, TwoWhoMakeItAtOnceShareOne) {
  std::vector<std::jthread> threads;
  for (std::int64_t number = 0; number < 4; ++number)
    threads.emplace_back([this, number] {
      auto database = Open();
      ASSERT_TRUE(database) << database.error().ToString();
      EXPECT_TRUE(database->Run(kInsert, {number, nullptr}));
    });
  threads.clear();
  EXPECT_EQ(Names(Open()).size(), 4U);
  EXPECT_THAT(Files(), ElementsAre("x.db"));
}

TEST_F(SqliteTest, MigratesOnceAndKeepsWhatIsThere) {
  ASSERT_TRUE(Open()->Run(kInsert, {1, "a"}));
  for (int i = 0; i < 2; ++i) {
    auto database = Open({kFirst, kSecond});
    ASSERT_TRUE(database) << database.error().ToString();
    EXPECT_THAT(Names(*database), ElementsAre("a"));
    std::int64_t seven = 0;
    ASSERT_TRUE(
        database->Run("SELECT id FROM other", {}, [&](const Row& row) { seven = row.Integer(0); }));
    EXPECT_EQ(seven, 7);
  }
}

TEST_F(SqliteTest, AMigrationThatFailsChangesNothing) {
  ASSERT_TRUE(Open());
  EXPECT_FALSE(Open({kFirst, "CREATE TABLE half (id INTEGER) STRICT; SELECT nonsense"}));
  EXPECT_TRUE(Open({kFirst, "CREATE TABLE half (id INTEGER) STRICT"}));
}

TEST_F(SqliteTest, ANewerVersionIsRefused) {
  ASSERT_TRUE(Open({kFirst, kSecond}));
  EXPECT_EQ(Refusal(), ErrorCode::kUnsupported);
}

TEST_F(SqliteTest, ADamagedFileIsReportedAndKept) {
  ASSERT_TRUE(Open());
  const std::string whole = *sys::ReadFile(path_);
  std::string torn = whole;
  torn.replace(100, 900, 900, 'x');
  for (const std::string& bytes :
       {std::string(), std::string("no database"), std::string(8192, '\0'), torn}) {
    Put(path_, bytes);
    EXPECT_EQ(Refusal(), ErrorCode::kCorrupt) << bytes.substr(0, 20);
    EXPECT_EQ(*sys::ReadFile(path_), bytes);
  }
}

TEST_F(SqliteTest, ADatabaseOfSomebodyElsesIsRefused) {
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "CREATE TABLE x (y)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_EQ(Refusal(), ErrorCode::kCorrupt);
}

TEST_F(SqliteTest, ALinkIsNotFollowed) {
  ASSERT_TRUE(Open());
  ASSERT_EQ(::rename(path_.c_str(), (temp_ / "elsewhere").c_str()), 0);
  ASSERT_EQ(::symlink((temp_ / "elsewhere").c_str(), path_.c_str()), 0);
  EXPECT_EQ(Refusal(), ErrorCode::kPermissionDenied);
}

TEST_F(SqliteTest, TheSchemaCannotBeWrittenByAStatement) {
  auto database = Open();
  ASSERT_TRUE(database->Run("PRAGMA writable_schema=ON"));
  EXPECT_FALSE(database->Run("DELETE FROM sqlite_schema"));
}

TEST_F(SqliteTest, CommitsAreSyncedToAWriteAheadLog) {
  auto database = Open();
  std::string mode;
  std::int64_t synchronous = 0;
  ASSERT_TRUE(
      database->Run("PRAGMA journal_mode", {}, [&](const Row& row) { mode = row.Text(0); }));
  ASSERT_TRUE(database->Run("PRAGMA synchronous", {},
                            [&](const Row& row) { synchronous = row.Integer(0); }));
  EXPECT_EQ(mode, "wal");
  EXPECT_EQ(synchronous, 2);  // FULL
}

}  // namespace
}  // namespace cofferdam::storage
