// Holds the very bytes that ship against the policy itself, read rule by rule without the compiler:
// every number that any kernel has, with arguments at and around every value that a rule names.
#include "sandbox/layers/seccomp/compiler.h"

#include <linux/audit.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "sandbox/layers/seccomp/filters.h"
#include "sandbox/layers/seccomp/interpreter.h"
#include "sandbox/layers/seccomp/policy.h"

namespace cofferdam::sandbox::seccomp {
namespace {

using Arguments = std::array<std::uint64_t, 6>;

constexpr std::uint32_t kNumbers = 1024;
constexpr std::uint32_t kX32Bit = 0x40000000;

bool Holds(const Condition& condition, const Arguments& arguments) {
  const auto low = static_cast<std::uint32_t>(arguments[condition.argument]);
  return std::ranges::find(condition.values, low & condition.mask) != condition.values.end();
}

Action Evaluate(const Rule& rule, const Arguments& arguments) {
  for (const Check& check : rule.checks)
    if (std::ranges::all_of(check.all_of, [&](const auto& one) { return Holds(one, arguments); }))
      return check.action;
  return rule.action;
}

class Compiled : public testing::TestWithParam<std::tuple<Machine, SeccompProfile>> {
 protected:
  Compiled() : rules_(Policy(profile())) {
    for (const Rule& rule : rules_) {
      const int number = seccomp_syscall_resolve_name_arch(
          x86() ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64, rule.syscall.c_str());
      if (number >= 0) numbered_[static_cast<std::uint32_t>(number)] = &rule;
    }
  }

  Machine machine() const { return std::get<0>(GetParam()); }
  SeccompProfile profile() const { return std::get<1>(GetParam()); }
  bool x86() const { return machine() == Machine::kX86_64; }
  std::uint32_t arch() const { return x86() ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64; }

  Action Wanted(std::uint32_t number, const Arguments& arguments) const {
    if (x86() && number >= kX32Bit) return SECCOMP_RET_KILL_PROCESS;
    const auto rule = numbered_.find(number);
    return rule == numbered_.end() ? SECCOMP_RET_ERRNO | ENOSYS
                                   : Evaluate(*rule->second, arguments);
  }

  Action Answer(Denials denials, std::uint32_t number, const Arguments& arguments) const {
    seccomp_data data{};
    data.nr = static_cast<int>(number);
    data.arch = arch();
    std::ranges::copy(arguments, data.args);
    return Interpret(Filter(machine(), profile(), denials), data);
  }

  // Every combination of the values that a rule names for its arguments, their neighbours and
  // strangers, would be too many: so many are drawn, with and without bits above the lower 32.
  std::vector<Arguments> Samples(std::uint32_t number) {
    std::map<unsigned, std::vector<std::uint32_t>> interesting;
    if (const auto rule = numbered_.find(number); rule != numbered_.end())
      for (const Check& check : rule->second->checks)
        for (const Condition& condition : check.all_of)
          for (const std::uint32_t value : condition.values)
            for (const std::uint32_t near : {value - 1, value, value + 1, value | ~condition.mask})
              interesting[condition.argument].push_back(near);
    std::vector<Arguments> samples = {{}, {~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull}};
    const std::size_t count = interesting.empty() ? 8 : 4000;
    for (std::size_t i = 0; i < count; ++i) {
      Arguments arguments;
      for (std::uint64_t& argument : arguments) argument = random_();
      for (const auto& [argument, values] : interesting)
        if (random_() % 8 != 0)
          arguments[argument] =
              values[random_() % values.size()] | (random_() % 2 == 0 ? 0 : random_() << 32);
      samples.push_back(arguments);
    }
    return samples;
  }

  // `check` for every number with its samples, and the numbers at the borders of what there is.
  void ForEachCall(auto&& check) {
    for (std::uint32_t number = 0; number < kNumbers; ++number)
      for (const Arguments& arguments : Samples(number)) check(number, arguments);
    for (const std::uint32_t number :
         {kX32Bit - 1, kX32Bit, kX32Bit + 1, kX32Bit + 59, kX32Bit + 520, 0x7fffffffu, 0x80000000u,
          0xfffffffeu, 0xffffffffu})
      for (const Arguments& arguments : Samples(number)) check(number, arguments);
  }

  std::vector<Rule> rules_;
  std::map<std::uint32_t, const Rule*> numbered_;
  std::mt19937_64 random_{20260101};
};

TEST_P(Compiled, AnswersEveryCallAsThePolicySays) {
  ForEachCall([&](std::uint32_t number, const Arguments& arguments) {
    ASSERT_EQ(Answer(Denials::kAnswered, number, arguments), Wanted(number, arguments))
        << "call " << number << " with " << testing::PrintToString(arguments);
  });
}

TEST_P(Compiled, ReportsExactlyWhatItWouldHaveRefused) {
  ForEachCall([&](std::uint32_t number, const Arguments& arguments) {
    const Action wanted = Wanted(number, arguments);
    const bool refused = (wanted & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
    ASSERT_EQ(Answer(Denials::kReported, number, arguments),
              refused ? SECCOMP_RET_USER_NOTIF : wanted)
        << "call " << number << " with " << testing::PrintToString(arguments);
  });
}

// Loading costs the more the longer a program is: see docs/decisions/seccomp.md.
TEST_P(Compiled, IsShort) {
  for (const Denials denials : {Denials::kAnswered, Denials::kReported})
    EXPECT_LT(Filter(machine(), profile(), denials).size(), 256u);
}

INSTANTIATE_TEST_SUITE_P(
    All, Compiled,
    testing::Combine(testing::Values(Machine::kX86_64, Machine::kArm64),
                     testing::Values(SeccompProfile::kTools, SeccompProfile::kHarness)),
    [](const auto& test) {
      return std::string(std::get<0>(test.param) == Machine::kX86_64 ? "x86_64_" : "arm64_") +
             std::string(SeccompProfileName(std::get<1>(test.param)));
    });

}  // namespace
}  // namespace cofferdam::sandbox::seccomp
