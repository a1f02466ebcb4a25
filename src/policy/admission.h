// Who may start now: the gate before everything that costs memory and processors.
//
// There are so many slots for all tenants together, and so many for each. Who finds none waits, in
// the order of coming among the same tenant's. What is guaranteed between tenants:
//
// - A free slot goes to the waiting tenant that holds the fewest; among equals to the one that got
//   or gave up a slot, or came, longest ago, so that nobody is passed over for ever. How many of a
//   tenant's wait makes no difference to anybody else.
// - A tenant that holds a slot already gets another only while the reserve stays free: one slot in
//   eight, at least one. So, with two slots or more, a tenant that holds none starts at once
//   however much others have queued, until as many newcomers as the reserve has slots have come
//   and stayed; after those it gets one of the next slots to be freed, whoever frees them.
// - How many wait is bounded, for each tenant and for all. When the latter bound is met, a tenant
//   of which nobody waits may still queue one.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/deadline.h"
#include "base/error.h"

namespace cofferdam::policy {

struct AdmissionLimits {
  /// Of all tenants together; at least 1.
  std::size_t slots = 1;
  /// How many may wait, of one tenant and of all. Whoever waits costs a thread and a few
  /// descriptors, nothing more.
  std::size_t waiting_of_tenant = 1000;
  std::size_t waiting = 4096;
};

struct AdmissionRequest {
  std::string tenant = {};
  /// How many slots the tenant may hold before this one has to wait; at least 1.
  std::size_t slots_of_tenant = 1;
  /// False: refused unless a slot is free now.
  bool may_wait = true;
};

/// Thread-safe. Must outlive its tickets.
class Admission {
 private:
  struct Tenant;
  struct Entry;

 public:
  /// A place before the gate, and then a slot; leaving (destruction) gives up either. Used by one
  /// thread at a time.
  class Ticket {
   public:
    Ticket(Ticket&&) noexcept;
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket();

    /// Takes a slot if it is this one's turn. If not, it stands in its tenant's queue from now on.
    bool Claim();
    /// Claims, and waits until there is a slot. kAdmissionTimeout after the deadline, kCancelled on
    /// a stop request; it does not stand in the queue any more then.
    Status Wait(Deadline deadline, std::stop_token stop);

   private:
    friend class Admission;
    Ticket(Admission& gate, std::unique_ptr<Entry> entry);
    Admission* gate_;
    std::unique_ptr<Entry> entry_;  // null after a move
  };

  explicit Admission(AdmissionLimits limits);
  ~Admission();

  /// Comes before the gate; does not wait, and holds up nobody before Claim or Wait.
  /// kAdmissionRefused when too many are waiting, or a slot is wanted now and none is free.
  Result<Ticket> Enter(AdmissionRequest request);

  std::size_t slots() const { return limits_.slots; }
  /// How many slots are held now.
  std::size_t held() const;

 private:
  using Tenants = std::map<std::string, Tenant>;

  // All with mutex_ held.
  bool MayHold(const Tenant& tenant, std::size_t slots_of_tenant) const;
  Status CheckRoom(const AdmissionRequest& request) const;
  void Stand(Entry& entry);
  void Serve();
  Tenants::iterator NextTenant();
  void Leave(Entry& entry);

  const AdmissionLimits limits_;
  const std::size_t reserve_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  Tenants tenants_;  // those of which somebody holds a slot or has come
  std::size_t held_ = 0;
  std::size_t outside_ = 0;  // have come and hold no slot
  std::uint64_t last_number_ = 0;
  std::uint64_t last_turn_ = 0;
};

}  // namespace cofferdam::policy
