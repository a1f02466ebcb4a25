// SQLite with what we ask of it: errors as values, statements from the source only, settings that
// survive crashes and distrust the file.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace cofferdam::storage {

/// A statement as it stands in the source. It cannot be made from text at run time, so nothing that
/// a tenant says can become part of one.
class Sql {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is one.
  consteval Sql(const char* text) : text_(text) {}
  constexpr const char* text() const { return text_; }

 private:
  const char* text_;
};

/// What a statement's parameters are given: NULL, an INTEGER or a TEXT. Text is borrowed for the
/// call.
using SqlValue = std::variant<std::nullptr_t, std::int64_t, std::string_view>;

/// The row of a running statement; valid within the function that it was given to. A file can hold
/// other types than ours: what is no integer reads as 0, what is no text as SQLite writes it.
class Row {
 public:
  std::int64_t Integer(int column) const;
  std::string Text(int column) const;

 private:
  friend class Database;
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  sqlite3_stmt* statement_;
};

/// One connection to a database file in WAL mode, synced at every commit. Belongs to one thread at
/// a time; several connections, also of other processes, may use the file at once and wait for each
/// other up to kBusyTimeout (then kBusy).
///
/// Errors: kCorrupt for a file that is damaged or none of SQLite's, which is left as it is;
/// kAlreadyExists for what has to be unique; kBusy; kOs and kPermissionDenied for what the file
/// system refuses. The message has SQLite's extended code.
class Database {
 public:
  static constexpr int kBusyTimeoutMilliseconds = 10'000;

  Database(Database&&) noexcept = default;
  Database& operator=(Database&&) = delete;
  ~Database() = default;

  /// Opens `path` (trusted, absolute, no symbolic link in it), and makes it first (0600) when it is
  /// missing: whole, or not at all. `migrations` lead from one version to the next, each once and
  /// in a transaction; a file's version is how many it has seen. kUnsupported for a file with more.
  /// A file without any version, as an empty one, is kCorrupt: ours never were.
  static Result<Database> Open(const std::string& path, std::span<const Sql> migrations);

  using RowSink = std::function<void(const Row& row)>;

  /// Runs one statement to its end and gives its rows, in order, to `sink`, which must not use the
  /// database. The prepared statement is kept for the next call.
  Status Run(Sql sql, std::initializer_list<SqlValue> values = {}, const RowSink& sink = {});

  /// How many rows the last INSERT, UPDATE or DELETE changed.
  std::int64_t changes() const;

  /// Runs `body` in a transaction that nobody writes beside, and commits; or takes all of it back
  /// when `body` or the commit fails. Not within another one.
  Status Transaction(const std::function<Status()>& body);

 private:
  struct Closer {
    void operator()(sqlite3* connection) const;
  };
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalizer>;

  Database() = default;
  static Result<Database> Connect(const std::string& path, bool make);
  static Status Make(const std::string& path, std::span<const Sql> migrations);
  Status Configure();
  Status Migrate(std::span<const Sql> migrations);
  Status Script(const std::string& text);
  Result<std::int64_t> Version();
  Result<sqlite3_stmt*> Prepared(Sql sql);
  Error Failure(std::string_view what) const;

  std::string path_;
  std::unique_ptr<sqlite3, Closer> connection_;
  // By the address of the literal. After connection_, so that they go first.
  std::unordered_map<const char*, Statement> statements_;
};

}  // namespace cofferdam::storage
