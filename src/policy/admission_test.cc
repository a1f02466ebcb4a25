#include "policy/admission.h"

#include <atomic>
#include <deque>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cofferdam::policy {
namespace {

using Ticket = Admission::Ticket;

Ticket Enter(Admission& gate, const std::string& tenant, std::size_t slots_of_tenant = 100) {
  auto ticket = gate.Enter({.tenant = tenant, .slots_of_tenant = slots_of_tenant});
  EXPECT_TRUE(ticket) << ticket.error().ToString();
  return std::move(*ticket);
}

/// So many that came and stand in the queue, or hold a slot; leaving from the front.
std::deque<Ticket> Claim(Admission& gate, const std::string& tenant, int count) {
  std::deque<Ticket> tickets;
  for (int i = 0; i < count; ++i) {
    tickets.push_back(Enter(gate, tenant));
    tickets.back().Claim();
  }
  return tickets;
}

TEST(Admission, GivesATenantAsManySlotsAsItMayHold) {
  Admission gate({.slots = 64});
  Ticket first = Enter(gate, "a", 2);
  Ticket second = Enter(gate, "a", 2);
  std::optional third = Enter(gate, "a", 2);
  EXPECT_TRUE(first.Claim());
  EXPECT_TRUE(second.Claim());
  EXPECT_FALSE(third->Claim());
  EXPECT_EQ(gate.held(), 2U);
}

TEST(Admission, ATenantsOwnAreServedInTheOrderOfComing) {
  Admission gate({.slots = 1});
  std::optional holder = Enter(gate, "a");
  ASSERT_TRUE(holder->Claim());
  std::optional early = Enter(gate, "a");
  std::optional late = Enter(gate, "a");
  EXPECT_FALSE(late->Claim());
  EXPECT_FALSE(early->Claim());
  holder.reset();
  EXPECT_FALSE(late->Claim());
  EXPECT_TRUE(early->Claim());
  early.reset();
  EXPECT_TRUE(late->Claim());
}

TEST(Admission, WhoHasNotClaimedHoldsUpNobody) {
  Admission gate({.slots = 1});
  Ticket waits_for_its_session = Enter(gate, "a");
  Ticket later = Enter(gate, "a");
  EXPECT_TRUE(later.Claim());
  EXPECT_FALSE(waits_for_its_session.Claim());
}

TEST(Admission, ATenantWithAThousandWaitingDoesNotDelayAnothersFirst) {
  Admission gate({.slots = 16});
  const auto greedy = Claim(gate, "greedy", 1000);
  EXPECT_EQ(gate.held(), 14U) << "one slot in eight is kept for newcomers";
  Ticket newcomer = Enter(gate, "newcomer");
  EXPECT_TRUE(newcomer.Claim());
  Ticket another = Enter(gate, "another");
  EXPECT_TRUE(another.Claim());
}

TEST(Admission, AFullPlatformsNextSlotGoesToWhoHoldsNone) {
  Admission gate({.slots = 8});
  auto greedy = Claim(gate, "greedy", 1000);
  Ticket first = Enter(gate, "first");
  ASSERT_TRUE(first.Claim());
  ASSERT_EQ(gate.held(), 8U);
  Ticket newcomer = Enter(gate, "newcomer");
  EXPECT_FALSE(newcomer.Claim());
  greedy.pop_front();
  EXPECT_TRUE(newcomer.Claim());
}

TEST(Admission, TheReserveIsKeptFromWhoHoldsASlotAlready) {
  Admission gate({.slots = 8});
  auto greedy = Claim(gate, "greedy", 9);
  EXPECT_EQ(gate.held(), 7U);
  std::optional newcomer = Enter(gate, "newcomer");
  EXPECT_TRUE(newcomer->Claim());
  Ticket seconds = Enter(gate, "newcomer");
  EXPECT_FALSE(seconds.Claim());
  newcomer.reset();
  EXPECT_TRUE(seconds.Claim()) << "it holds none again";
}

TEST(Admission, TenantsThatHoldAsManyAreServedInTurn) {
  Admission gate({.slots = 3});
  auto a = Claim(gate, "a", 4);
  auto b = Claim(gate, "b", 4);
  auto c = Claim(gate, "c", 4);
  for (int round = 0; round < 4; ++round)
    for (auto* tenant : {&a, &b, &c}) {
      EXPECT_TRUE(tenant->front().Claim()) << round;
      tenant->pop_front();
      EXPECT_EQ(gate.held(), round == 3 ? gate.held() : 3U);
    }
}

TEST(Admission, OneSlotIsSharedTooInTurn) {
  Admission gate({.slots = 1});
  auto a = Claim(gate, "a", 3);
  auto b = Claim(gate, "b", 3);
  std::string order;
  while (!a.empty() || !b.empty()) {
    const bool is_a = !a.empty() && a.front().Claim();
    ASSERT_TRUE(is_a || b.front().Claim());
    order += is_a ? 'a' : 'b';
    (is_a ? a : b).pop_front();
  }
  EXPECT_EQ(order, "ababab");
}

TEST(Admission, RefusesWhatMayNotWait) {
  Admission gate({.slots = 2});
  const auto at_once = [&gate] { return gate.Enter({.tenant = "a", .may_wait = false}); };
  std::optional<Ticket> only(std::move(*at_once()));
  ASSERT_TRUE(only->Claim());
  const auto refused = at_once();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kAdmissionRefused);
  EXPECT_FALSE(refused.error().hint.empty());
  only.reset();
  EXPECT_TRUE(at_once());
}

TEST(Admission, RefusesMoreThanMayWaitOfOneTenant) {
  Admission gate({.slots = 1, .waiting_of_tenant = 2});
  const auto holder = Claim(gate, "a", 1);
  const auto waiting = Claim(gate, "a", 2);
  EXPECT_EQ(gate.Enter({.tenant = "a"}).error().code, ErrorCode::kAdmissionRefused);
  EXPECT_TRUE(gate.Enter({.tenant = "b"}));
}

TEST(Admission, RefusesMoreThanMayWaitOfAllButTheFirstOfATenant) {
  Admission gate({.slots = 1, .waiting = 3});
  const auto greedy = Claim(gate, "greedy", 4);
  EXPECT_EQ(gate.Enter({.tenant = "greedy"}).error().code, ErrorCode::kAdmissionRefused);
  const auto first = gate.Enter({.tenant = "newcomer"});
  EXPECT_TRUE(first);
  EXPECT_EQ(gate.Enter({.tenant = "newcomer"}).error().code, ErrorCode::kAdmissionRefused);
}

TEST(Admission, ADeadlineEndsTheWaitAndThePlaceInTheQueue) {
  Admission gate({.slots = 1});
  std::optional holder = Enter(gate, "a");
  ASSERT_TRUE(holder->Wait(Deadline::Never(), {}));
  Ticket impatient = Enter(gate, "a");
  Ticket patient = Enter(gate, "a");
  const Status waited = impatient.Wait(Deadline::After(std::chrono::milliseconds(0)), {});
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kAdmissionTimeout);
  EXPECT_FALSE(patient.Claim());
  holder.reset();
  EXPECT_TRUE(patient.Claim());
}

TEST(Admission, AStopRequestEndsTheWait) {
  Admission gate({.slots = 1});
  std::optional holder = Enter(gate, "a");
  ASSERT_TRUE(holder->Claim());
  Ticket cancelled = Enter(gate, "a");
  ASSERT_FALSE(cancelled.Claim());
  Ticket next = Enter(gate, "a");
  ASSERT_FALSE(next.Claim());
  std::stop_source stop;
  std::jthread canceller([&stop] { stop.request_stop(); });
  const Status waited = cancelled.Wait(Deadline::Never(), stop.get_token());
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kCancelled);
  holder.reset();
  EXPECT_TRUE(next.Wait(Deadline::Never(), {}));
}

TEST(Admission, AStopRequestThatComesWithTheSlotGivesTheSlotToTheNext) {
  Admission gate({.slots = 1});
  std::stop_source stop;
  stop.request_stop();
  std::optional stopped = Enter(gate, "a");
  EXPECT_EQ(stopped->Wait(Deadline::Never(), stop.get_token()).error().code, ErrorCode::kCancelled);
  Ticket next = Enter(gate, "a");
  EXPECT_FALSE(next.Claim());
  stopped.reset();
  EXPECT_TRUE(next.Claim());
}

TEST(Admission, ManyThreadsNeverHoldMoreThanThereIs) {
  constexpr std::size_t kSlots = 5;
  Admission gate({.slots = kSlots});
  std::atomic<std::size_t> inside = 0;
  std::atomic<std::size_t> most = 0;
  std::atomic<int> done = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 60; ++i)
      threads.emplace_back([&, tenant = std::string(1, static_cast<char>('a' + i % 3))] {
        Ticket ticket = Enter(gate, tenant, 2);
        ASSERT_TRUE(ticket.Wait(Deadline::Never(), {}));
        const std::size_t now = ++inside;
        for (std::size_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
        --inside;
        ++done;
      });
  }
  EXPECT_EQ(done, 60);
  EXPECT_LE(most, kSlots);
  EXPECT_EQ(gate.held(), 0U);
}

}  // namespace
}  // namespace cofferdam::policy
