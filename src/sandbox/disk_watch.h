// The soft limit: counts what sandboxes have written, at their turns and every few seconds, and
// ends those that are over.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "sandbox/disk_usage.h"
#include "sandbox/local_sandbox.h"

namespace cofferdam::sandbox {

/// How often everything that is watched is counted.
inline constexpr std::chrono::milliseconds kDiskInterval{10'000};

/// Owns the thread that visits the sandboxes; the thread is started by the first Watch and ends, at
/// the latest after one slice of a count, with this object, which must outlive what it watches.
/// Thread-safe.
///
///   DiskWatch watch(kDiskInterval);
///   DiskWatch::Watched watched = watch.Watch(*sandbox, {work, home}, 1 << 30);
///   …
///   RETURN_IF_ERROR(watched.Check());
class DiskWatch {
  struct Group;
  struct Member;

 public:
  /// Nothing makes no thread: then only Check and Visit count.
  explicit DiskWatch(std::optional<std::chrono::milliseconds> interval);
  ~DiskWatch();
  DiskWatch(const DiskWatch&) = delete;
  DiskWatch& operator=(const DiskWatch&) = delete;

  /// A sandbox that is watched until this is destroyed, which may wait for a slice of a count. The
  /// sandbox must live longer.
  class Watched {
   public:
    Watched(Watched&&) noexcept = default;
    Watched& operator=(Watched&&) = delete;
    ~Watched();

    /// Counts now, unless a large tree was counted just before. kDiskLimit when it is over, now or
    /// at a visit before; the sandbox has then been ended. Any other error is of a count that
    /// cannot be made, which ends the sandbox as well.
    Status Check();

   private:
    friend class DiskWatch;
    Watched(std::shared_ptr<Group> group, std::list<Member>::iterator member)
        : group_(std::move(group)), member_(member) {}
    std::shared_ptr<Group> group_;
    std::list<Member>::iterator member_;
  };

  /// `roots` are all directories that the sandbox can write; sandboxes with equal ones are counted
  /// together. `limit` is in bytes as DiskUsage counts them.
  Watched Watch(LocalSandbox& sandbox, const std::vector<std::string>& roots, std::uint64_t limit);

  /// What the thread does each time: counts everything that is watched.
  void Visit(const std::stop_token& stop = {});

 private:
  void Run(const std::stop_token& stop);

  const std::optional<std::chrono::milliseconds> interval_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::map<std::vector<std::string>, std::weak_ptr<Group>> groups_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses everything above
};

/// What a run or command that is over its limit is told.
Error DiskLimitError(const DiskUsage& usage, std::uint64_t limit);

}  // namespace cofferdam::sandbox
