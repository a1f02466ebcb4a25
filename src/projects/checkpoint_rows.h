// The rows of checkpoints.db, read with suspicion: what they name would be written to disk.
// Bytes on disk: docs/formats/checkpoints.md.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "projects/checkpoints.h"
#include "projects/upper.h"
#include "storage/sqlite.h"

namespace cofferdam::projects {

std::span<const storage::Sql> CheckpointMigrations();

/// All are kCorrupt for a row that none of ours can be.
Result<std::vector<Checkpoint>> LoadCheckpoints(storage::Database& database,
                                                const std::optional<std::string>& view);
/// Gives it its id.
Status InsertCheckpoint(storage::Database& database, Checkpoint& checkpoint);

/// What an upper holds as far as the last checkpoint knows, with stamps.
Result<KeptTree> LoadCurrent(storage::Database& database, const std::string& view);
/// Nothing: it is not there any more.
Status SaveCurrent(storage::Database& database, const std::string& view, const std::string& path,
                   const Kept* kept);

/// What an upper held at a checkpoint, without stamps; `first` is the first one of its epoch.
Result<KeptTree> LoadState(storage::Database& database, const std::string& view, std::int64_t first,
                           std::int64_t id);
Status InsertChange(storage::Database& database, const Checkpoint& checkpoint,
                    const UpperChange& change);

Result<std::vector<Checkpoints::Intent>> LoadIntents(storage::Database& database);
Status SaveIntent(storage::Database& database, const Checkpoints::Intent& intent);

Result<std::optional<Checkpoints::Base>> LoadBase(storage::Database& database,
                                                  const std::string& view, const std::string& path);
/// False when there was one already.
Result<bool> InsertBase(storage::Database& database, const std::string& view,
                        const std::string& path, const Checkpoints::Base& base);

/// Within a transaction: the checkpoints of epochs that have ended.
Status DeleteEndedEpochs(storage::Database& database);
/// Within a transaction, after DeleteEndedEpochs: what checkpoint `id` of a view needs of those
/// before it becomes its own; one of them stays as a mark, kForgotten.
Status ForgetBefore(storage::Database& database, const std::string& view, std::int64_t id);

/// How many bytes the objects have together that a row names.
Result<std::uint64_t> ObjectBytes(storage::Database& database);
/// Every object that a row names.
Result<std::set<ObjectId>> LoadObjects(storage::Database& database);

}  // namespace cofferdam::projects
