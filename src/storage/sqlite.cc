#include "storage/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::storage {
namespace {

// What of an extended code is the kind of the error.
constexpr int kPrimary = 0xff;

ErrorCode CodeFor(int extended) {
  if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY)
    return ErrorCode::kAlreadyExists;
  switch (extended & kPrimary) {
    case SQLITE_BUSY:
      return ErrorCode::kBusy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorrupt;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return ErrorCode::kPermissionDenied;
    case SQLITE_TOOBIG:
      return ErrorCode::kTooLarge;
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return ErrorCode::kOs;
    default:
      return ErrorCode::kInternal;
  }
}

constexpr const char* kKept = "it was left as it is; restore it from a backup";

Error ErrorOf(sqlite3* connection, const std::string& path, std::string_view what) {
  const int extended = sqlite3_extended_errcode(connection);
  const bool of_system =
      (extended & kPrimary) == SQLITE_IOERR || (extended & kPrimary) == SQLITE_CANTOPEN;
  Error error{CodeFor(extended),
              path + ": " + std::string(what) + ": " + sqlite3_errmsg(connection) + " (SQLite " +
                  std::to_string(extended) + ")",
              "", of_system ? sqlite3_system_errno(connection) : 0};
  if (error.code == ErrorCode::kCorrupt) error.hint = kKept;
  return error;
}

int Bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    return sqlite3_bind_int64(statement, index, *integer);
  if (const auto* text = std::get_if<std::string_view>(&value))
    return sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC,
                               SQLITE_UTF8);
  return sqlite3_bind_null(statement, index);
}

// A statement that is kept holds neither locks nor borrowed text between its uses.
class Use {
 public:
  explicit Use(sqlite3_stmt* statement) : statement_(statement) {}
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

 private:
  sqlite3_stmt* statement_;
};

}  // namespace

std::int64_t Row::Integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Row::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

void Database::Closer::operator()(sqlite3* connection) const {
  // Fails only while a statement lives, and they are gone.
  CHECK(sqlite3_close(connection) == SQLITE_OK);
}

void Database::Finalizer::operator()(sqlite3_stmt* statement) const {
  // Gives the statement's last error once more.
  static_cast<void>(sqlite3_finalize(statement));
}

Error Database::Failure(std::string_view what) const {
  return ErrorOf(connection_.get(), path_, what);
}

// ---- Opening

Result<Database> Database::Open(const std::string& path, std::span<const Sql> migrations) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) return ErrnoError(errno, "opening " + path);
    RETURN_IF_ERROR(Make(path, migrations));
  } else if (info.st_size == 0) {
    // To SQLite this is a database without tables, and it would begin to write one.
    return Err(ErrorCode::kCorrupt, path + " is damaged: it is empty", kKept);
  }
  ASSIGN_OR_RETURN(Database database, Connect(path, false));
  ASSIGN_OR_RETURN(const std::int64_t version, database.Version());
  if (version == 0) return Err(ErrorCode::kCorrupt, path + " is damaged: it has no version", kKept);
  RETURN_IF_ERROR(database.Migrate(migrations));
  return database;
}

// Under another name, so that nobody ever meets a database that is not one yet.
Status Database::Make(const std::string& path, std::span<const Sql> migrations) {
  const std::size_t slash = path.rfind('/');
  CHECK(slash != std::string::npos && !migrations.empty());
  const std::string temporary = path.substr(0, slash + 1) + ".tmp-" + NewId(SystemClock());
  Status made;
  {
    auto database = Connect(temporary, true);
    made = database ? database->Migrate(migrations) : std::unexpected(database.error());
    // Everything into the one file that is renamed.
    if (made) made = database->Script("PRAGMA journal_mode=DELETE");
  }
  if (made &&
      ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0 &&
      errno != EEXIST)
    made = ErrnoError(errno, "making " + path);
  // Somebody else's, who was faster, is as good.
  for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((temporary + suffix).c_str());
  RETURN_IF_ERROR(made);
  ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                   sys::Open(path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY));
  return SyncDirectory(directory.get());
}

Result<Database> Database::Connect(const std::string& path, bool make) {
  // SQLite gives the files beside it the same rights.
  if (make) RETURN_IF_ERROR(sys::Open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  Database database;
  database.path_ = path;
  sqlite3* connection = nullptr;
  const int opened = sqlite3_open_v2(
      path.c_str(), &connection,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  database.connection_.reset(connection);
  if (connection == nullptr) return Err(ErrorCode::kOs, path + ": no memory for a database");
  if (opened != SQLITE_OK) return std::unexpected(database.Failure("opening"));
  RETURN_IF_ERROR(database.Configure());
  return database;
}

Status Database::Configure() {
  sqlite3* const connection = connection_.get();
  sqlite3_busy_timeout(connection, kBusyTimeoutMilliseconds);
  // The file may have been written by somebody else: what its schema says is not to be trusted.
  for (const auto& [option, value] :
       {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1}, {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0}})
    CHECK(sqlite3_db_config(connection, option, value, nullptr) == SQLITE_OK);
  RETURN_IF_ERROR(Script("PRAGMA journal_mode=WAL"));
  RETURN_IF_ERROR(Script("PRAGMA synchronous=FULL"));
  return Script("PRAGMA foreign_keys=ON");
}

Result<std::int64_t> Database::Version() {
  std::int64_t version = 0;
  RETURN_IF_ERROR(
      Run("PRAGMA user_version", {}, [&](const Row& row) { version = row.Integer(0); }));
  return version;
}

Status Database::Migrate(std::span<const Sql> migrations) {
  const auto known = static_cast<std::int64_t>(migrations.size());
  ASSIGN_OR_RETURN(const std::int64_t seen, Version());
  if (seen == known) return {};
  return Transaction([&]() -> Status {
    // Another program may have done it since.
    ASSIGN_OR_RETURN(const std::int64_t version, Version());
    if (version < 0 || version > known)
      return Err(ErrorCode::kUnsupported,
                 path_ + " has version " + std::to_string(version) + "; this program knows " +
                     std::to_string(known),
                 "use a newer version");
    for (std::int64_t next = version; next < known; ++next)
      RETURN_IF_ERROR(Script(migrations[static_cast<std::size_t>(next)].text()));
    return Script("PRAGMA user_version=" + std::to_string(known));
  });
}

// ---- Statements

Status Database::Script(const std::string& text) {
  if (sqlite3_exec(connection_.get(), text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return std::unexpected(Failure(text));
  return {};
}

Result<sqlite3_stmt*> Database::Prepared(Sql sql) {
  Statement& kept = statements_[sql.text()];
  if (kept == nullptr) {
    sqlite3_stmt* statement = nullptr;
    const char* rest = nullptr;
    if (sqlite3_prepare_v3(connection_.get(), sql.text(), -1, SQLITE_PREPARE_PERSISTENT, &statement,
                           &rest) != SQLITE_OK)
      return std::unexpected(Failure(sql.text()));
    kept.reset(statement);
    CHECK(statement != nullptr && *rest == '\0');
  }
  return kept.get();
}

Status Database::Run(Sql sql, std::initializer_list<SqlValue> values, const RowSink& sink) {
  ASSIGN_OR_RETURN(sqlite3_stmt* const statement, Prepared(sql));
  CHECK(!sqlite3_stmt_busy(statement));
  const Use use(statement);
  CHECK(sqlite3_bind_parameter_count(statement) == static_cast<int>(values.size()));
  int index = 0;
  for (const SqlValue& value : values)
    if (Bind(statement, ++index, value) != SQLITE_OK) return std::unexpected(Failure(sql.text()));
  for (;;) {
    const int stepped = sqlite3_step(statement);
    if (stepped == SQLITE_DONE) return {};
    if (stepped != SQLITE_ROW) return std::unexpected(Failure(sql.text()));
    if (sink) sink(Row(statement));
  }
}

std::int64_t Database::changes() const { return sqlite3_changes64(connection_.get()); }

Status Database::Transaction(const std::function<Status()>& body) {
  RETURN_IF_ERROR(Run("BEGIN IMMEDIATE"));
  Status done = body();
  if (done) done = Run("COMMIT");
  // Some failures have ended the transaction already.
  if (!done && sqlite3_get_autocommit(connection_.get()) == 0) static_cast<void>(Run("ROLLBACK"));
  return done;
}

}  // namespace cofferdam::storage
