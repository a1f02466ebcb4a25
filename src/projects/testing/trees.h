// Whole trees for tests: what is in one, random ones, and the upper that leads from one to another,
// made without a mount. Test programs only.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace cofferdam::projects {

struct Item {
  mode_t mode = 0;      // kind and permissions
  std::string content;  // of a file; of a link where it points

  bool operator==(const Item&) const = default;
};
/// By path, directories among them.
using Snapshot = std::map<std::string, Item>;

Snapshot SnapshotOf(const std::string& root);
/// What differs, for a person; empty when nothing does.
std::string Difference(const Snapshot& wanted, const Snapshot& got);

/// Copies what is in `from` into `to`, which exists: modes and links as they are.
void CopyTree(const std::string& from, const std::string& to);
/// Removes what is in `root`.
void EmptyTree(const std::string& root);

/// Makes `upper`, an empty directory, what an overlay above `before` would have when it shows
/// `after`: everything of `after` that differs, and whiteouts for what is gone.
void MakeUpper(const std::string& before, const std::string& after, const std::string& upper);

/// Random names (with spaces, quotes, line feeds, and what is no UTF-8), kinds, modes and contents.
class RandomTree {
 public:
  explicit RandomTree(std::uint64_t seed) : random_(seed) {}

  void Fill(const std::string& root, int count);
  /// Creates, rewrites, renames, removes, and changes modes and kinds.
  void Change(const std::string& root, int count);
  int Below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }

 private:
  std::string Name();
  std::string Content();
  std::string SomePlace(const std::string& root);
  void Make(const std::string& path);
  void ChangeOne(const std::string& root);

  std::mt19937_64 random_;
};

/// Runs a program of the machine in a directory and waits; its exit code. What it prints goes where
/// ours goes.
int RunIn(const std::string& directory, const std::vector<std::string>& argv);

}  // namespace cofferdam::projects
