#include "policy/admission.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace cofferdam::policy {
namespace {

constexpr std::size_t kSlotsForEachReserved = 8;
constexpr char kHint[] =
    "try again later, or raise max_concurrent_runs of the workspace or max_platform_runs";

std::unexpected<Error> Refused(const std::string& tenant, const std::string& why) {
  return Err(ErrorCode::kAdmissionRefused,
             "workspace '" + tenant + "' may not start this now: " + why, kHint);
}

}  // namespace

struct Admission::Tenant {
  std::size_t held = 0;
  std::size_t outside = 0;
  // By number, that is in the order of coming.
  std::map<std::uint64_t, Entry*> queue = {};
  std::uint64_t turn = 0;
};

struct Admission::Entry {
  Tenants::iterator tenant;
  std::size_t slots_of_tenant;
  std::uint64_t number;
  bool holds = false;
  // One for each: a slot wakes the one that gets it, not a thousand that do not.
  std::condition_variable_any served = {};
};

Admission::Admission(AdmissionLimits limits)
    : limits_(limits), reserve_(std::max<std::size_t>(limits.slots / kSlotsForEachReserved, 1)) {
  CHECK(limits_.slots >= 1);
}

Admission::~Admission() { CHECK(tenants_.empty()); }

std::size_t Admission::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

bool Admission::MayHold(const Tenant& tenant, std::size_t slots_of_tenant) const {
  const std::size_t free = limits_.slots - held_;
  if (tenant.held >= slots_of_tenant) return false;
  return tenant.held == 0 ? free > 0 : free > reserve_;
}

Status Admission::CheckRoom(const AdmissionRequest& request) const {
  static const Tenant kNobody;
  const auto found = tenants_.find(request.tenant);
  const Tenant& tenant = found == tenants_.end() ? kNobody : found->second;
  if (!request.may_wait) {
    if (tenant.queue.empty() && MayHold(tenant, request.slots_of_tenant)) return {};
    return Refused(request.tenant, "no slot is free, and it was not to wait for one");
  }
  if (tenant.outside >= limits_.waiting_of_tenant)
    return Refused(request.tenant, std::to_string(tenant.outside) + " of its own wait already");
  if (outside_ >= limits_.waiting && tenant.outside > 0)
    return Refused(request.tenant, std::to_string(outside_) + " wait already on this platform");
  return {};
}

Result<Admission::Ticket> Admission::Enter(AdmissionRequest request) {
  CHECK(request.slots_of_tenant >= 1);
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(CheckRoom(request));
  const auto [tenant, is_new] = tenants_.try_emplace(std::move(request.tenant));
  if (is_new) tenant->second.turn = ++last_turn_;
  ++tenant->second.outside;
  ++outside_;
  return Ticket(*this, std::make_unique<Entry>(tenant, request.slots_of_tenant, ++last_number_));
}

void Admission::Stand(Entry& entry) {
  if (entry.holds) return;
  entry.tenant->second.queue.emplace(entry.number, &entry);
  Serve();
}

// Of those that wait and may have a slot, the tenant with the fewest, and then the one that got or
// gave up a slot, or came, longest ago.
Admission::Tenants::iterator Admission::NextTenant() {
  auto best = tenants_.end();
  for (auto candidate = tenants_.begin(); candidate != tenants_.end(); ++candidate) {
    const Tenant& tenant = candidate->second;
    if (tenant.queue.empty() || !MayHold(tenant, tenant.queue.begin()->second->slots_of_tenant))
      continue;
    if (best == tenants_.end() ||
        std::pair(tenant.held, tenant.turn) < std::pair(best->second.held, best->second.turn))
      best = candidate;
  }
  return best;
}

void Admission::Serve() {
  while (held_ < limits_.slots) {
    const auto next = NextTenant();
    if (next == tenants_.end()) return;
    Tenant& tenant = next->second;
    Entry& entry = *tenant.queue.begin()->second;
    tenant.queue.erase(tenant.queue.begin());
    entry.holds = true;
    --tenant.outside;
    --outside_;
    ++tenant.held;
    ++held_;
    tenant.turn = ++last_turn_;
    entry.served.notify_one();
  }
}

void Admission::Leave(Entry& entry) {
  Tenant& tenant = entry.tenant->second;
  tenant.queue.erase(entry.number);
  if (entry.holds) {
    --tenant.held;
    --held_;
    tenant.turn = ++last_turn_;
  } else {
    --tenant.outside;
    --outside_;
  }
  if (tenant.held == 0 && tenant.outside == 0) tenants_.erase(entry.tenant);
  Serve();
}

Admission::Ticket::Ticket(Admission& gate, std::unique_ptr<Entry> entry)
    : gate_(&gate), entry_(std::move(entry)) {}

Admission::Ticket::Ticket(Ticket&&) noexcept = default;

Admission::Ticket::~Ticket() {
  if (entry_ == nullptr) return;
  const std::lock_guard lock(gate_->mutex_);
  gate_->Leave(*entry_);
}

bool Admission::Ticket::Claim() {
  const std::lock_guard lock(gate_->mutex_);
  gate_->Stand(*entry_);
  return entry_->holds;
}

Status Admission::Ticket::Wait(Deadline deadline, std::stop_token stop) {
  std::unique_lock lock(gate_->mutex_);
  gate_->Stand(*entry_);
  const auto is_served = [this] { return entry_->holds; };
  if (deadline.is_never())
    entry_->served.wait(lock, stop, is_served);
  else
    entry_->served.wait_until(lock, stop, Deadline::SteadyClock::now() + deadline.Remaining(),
                              is_served);
  // A request that came together with the slot counts too: nothing has begun.
  if (entry_->holds && !stop.stop_requested()) return {};
  Tenant& tenant = entry_->tenant->second;
  tenant.queue.erase(entry_->number);
  // Whoever stood behind may fit where this one did not.
  gate_->Serve();
  if (stop.stop_requested())
    return Err(ErrorCode::kCancelled, "cancelled while waiting for a slot");
  return Err(ErrorCode::kAdmissionTimeout,
             "no slot became free in time: " + std::to_string(tenant.held) + " of workspace '" +
                 entry_->tenant->first + "' go on, " + std::to_string(gate_->held_) + " of " +
                 std::to_string(gate_->limits_.slots) + " on this platform",
             "raise queue_timeout_s, max_concurrent_runs of the workspace or max_platform_runs");
}

}  // namespace cofferdam::policy
