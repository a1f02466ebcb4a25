#include "sandbox/disk_watch.h"

#include <algorithm>

namespace cofferdam::sandbox {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// How long a count goes on before others have their turn; for the first slice the sandboxes are
/// frozen, so that nothing hides by being moved.
constexpr std::chrono::milliseconds kSlice{250};
/// A count that took longer is not begun again before kRest times as long has passed.
constexpr std::chrono::milliseconds kQuick{50};
constexpr int kRest = 20;
/// By how much a workspace is over is told up to so many times its limit.
constexpr std::uint64_t kFar = 2;

std::string MiB(std::uint64_t bytes) {
  constexpr std::uint64_t kTenth = (1 << 20) / 10;
  const std::uint64_t tenths = bytes / kTenth;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

}  // namespace

Error DiskLimitError(const DiskUsage& usage, std::uint64_t limit) {
  std::string message = "the workspace's files take " + MiB(usage.bytes) + " of disk, more than " +
                        MiB(limit) + " (disk_mib): " + std::to_string(usage.files) + " files";
  if (usage.deleted_bytes > 0)
    message += ", " + MiB(usage.deleted_bytes) + " in files that were deleted while open";
  return {ErrorCode::kDiskLimit, message,
          "remove files (cofferdam exec -- rm …), or raise disk_mib; each file counts 4 KiB beside "
          "its blocks",
          0};
}

struct DiskWatch::Member {
  LocalSandbox* sandbox;
  std::uint64_t limit;
  std::optional<Error> error = {};
};

struct DiskWatch::Group {
  explicit Group(std::vector<std::string> all) : roots(std::move(all)) {}

  const std::vector<std::string> roots;
  std::mutex mutex;
  // Guarded by mutex.
  std::list<Member> members;
  std::optional<DiskCount> count;
  SteadyClock::duration taken{0};
  SteadyClock::time_point not_before;

  bool GoOn();
  Result<bool> Slice();
  void End(const Error& error);
  void Judge(const DiskUsage& usage);
};

namespace {

/// Holds sandboxes that have processes of tools still while they are counted.
class Stillness {
 public:
  void Hold(LocalSandbox& sandbox) {
    // Without a control group there is no stillness, and the count is what it can be.
    if (!DescendantsOf(sandbox.worker_pid()).empty() && sandbox.Freeze()) held_.push_back(&sandbox);
  }
  ~Stillness() {
    // One that was ended meanwhile cannot be thawed and needs it no more.
    for (LocalSandbox* sandbox : held_) static_cast<void>(sandbox->Thaw());
  }

 private:
  std::vector<LocalSandbox*> held_;
};

}  // namespace

/// Counts for a slice; true when the count is done, and judged.
bool DiskWatch::Group::GoOn() {
  const auto start = SteadyClock::now();
  Stillness stillness;
  if (!count)
    for (const Member& member : members) stillness.Hold(*member.sandbox);
  const Result<bool> done = Slice();
  taken += SteadyClock::now() - start;
  if (done && !*done) return false;
  if (done)
    Judge(count->usage());
  else
    End(done.error().With("counting the workspace's files"));
  count.reset();
  not_before = SteadyClock::now() + (taken > kQuick ? kRest * taken : SteadyClock::duration(0));
  taken = {};
  return true;
}

Result<bool> DiskWatch::Group::Slice() {
  if (!count) {
    std::vector<pid_t> workers;
    std::uint64_t limit = 0;
    for (const Member& member : members) {
      workers.push_back(member.sandbox->worker_pid());
      limit = std::max(limit, member.limit);
    }
    ASSIGN_OR_RETURN(count, DiskCount::Begin(roots, std::move(workers), kFar * limit));
  }
  return count->GoOn(Deadline::After(kSlice));
}

void DiskWatch::Group::End(const Error& error) {
  for (Member& member : members) {
    if (!member.error) member.error = error;
    member.sandbox->End(error);
  }
}

void DiskWatch::Group::Judge(const DiskUsage& usage) {
  for (Member& member : members) {
    if (member.error || usage.bytes <= member.limit) continue;
    member.error = DiskLimitError(usage, member.limit);
    member.sandbox->End(*member.error);
  }
}

DiskWatch::Watched::~Watched() {
  if (group_ == nullptr) return;
  const std::lock_guard lock(group_->mutex);
  group_->members.erase(member_);
}

Status DiskWatch::Watched::Check() {
  bool done = false;
  {
    const std::lock_guard lock(group_->mutex);
    done = member_->error || SteadyClock::now() < group_->not_before;
    // One that was begun before may not have seen what has just been written.
    if (!done) group_->count.reset();
  }
  while (!done) {
    const std::lock_guard lock(group_->mutex);
    done = group_->GoOn();
  }
  const std::lock_guard lock(group_->mutex);
  if (member_->error) return std::unexpected(*member_->error);
  return {};
}

DiskWatch::DiskWatch(std::optional<std::chrono::milliseconds> interval) : interval_(interval) {}

DiskWatch::~DiskWatch() = default;

DiskWatch::Watched DiskWatch::Watch(LocalSandbox& sandbox, const std::vector<std::string>& roots,
                                    std::uint64_t limit) {
  const std::lock_guard lock(mutex_);
  std::erase_if(groups_, [](const auto& group) { return group.second.expired(); });
  std::shared_ptr<Group> group = groups_[roots].lock();
  if (group == nullptr) group = std::make_shared<Group>(roots);
  groups_[roots] = group;
  if (interval_ && !thread_.joinable())
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  const std::lock_guard group_lock(group->mutex);
  const auto member = group->members.insert(group->members.end(), Member{&sandbox, limit});
  return {group, member};
}

void DiskWatch::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, *interval_, [] { return false; });
    }
    Visit(stop);
  }
}

void DiskWatch::Visit(const std::stop_token& stop) {
  std::vector<std::shared_ptr<Group>> unfinished;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [roots, weak] : groups_)
      if (auto group = weak.lock()) unfinished.push_back(std::move(group));
  }
  const auto go_on = [&stop](const std::shared_ptr<Group>& group) {
    if (stop.stop_requested()) return true;
    const std::lock_guard lock(group->mutex);
    if (group->members.empty() || (!group->count && SteadyClock::now() < group->not_before))
      return true;
    return group->GoOn();
  };
  // In turns, so that a large tree keeps nobody waiting for long.
  while (!unfinished.empty()) std::erase_if(unfinished, go_on);
}

}  // namespace cofferdam::sandbox
