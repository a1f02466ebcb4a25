#include "sandbox/layers/seccomp/compiler.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace cofferdam::sandbox::seccomp {
namespace {

using Program = std::vector<sock_filter>;

constexpr std::uint32_t kX32Bit = 0x40000000;

sock_filter Load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
sock_filter Return(Action action) { return BPF_STMT(BPF_RET | BPF_K, action); }
sock_filter Skip(std::size_t count) {
  return BPF_STMT(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(count));
}

// Both supported architectures are little-endian, so the low half of an argument comes first.
std::size_t LowHalfOf(unsigned argument) {
  return offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t);
}

void Append(Program& program, const Program& more) {
  program.insert(program.end(), more.begin(), more.end());
}

// Falls through to what comes next when the condition holds, else skips `rest` instructions.
Program CompileCondition(const Condition& condition, std::size_t rest) {
  Program program = {Load(LowHalfOf(condition.argument))};
  if (condition.mask != 0xffffffff)
    program.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, condition.mask));
  for (std::size_t i = 0; i < condition.values.size(); ++i) {
    // Over the remaining comparisons and the jump that stands for "none of them".
    const std::size_t to_match = condition.values.size() - i;
    CHECK(to_match < 256);
    program.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, condition.values[i], static_cast<__u8>(to_match), 0));
  }
  program.push_back(Skip(rest));
  return program;
}

Program CompileRule(const Rule& rule) {
  Program program;
  for (const Check& check : rule.checks) {
    Program tail = {Return(check.action)};
    for (auto condition = check.all_of.rbegin(); condition != check.all_of.rend(); ++condition) {
      Program head = CompileCondition(*condition, tail.size());
      Append(head, tail);
      tail = std::move(head);
    }
    Append(program, tail);
  }
  program.push_back(Return(rule.action));
  return program;
}

// All numbers from `first` up to the next leaf's.
struct Leaf {
  std::uint32_t first;
  Program program;
};

bool SameProgram(const Program& a, const Program& b) {
  return std::ranges::equal(a, b, [](const sock_filter& x, const sock_filter& y) {
    return x.code == y.code && x.jt == y.jt && x.jf == y.jf && x.k == y.k;
  });
}

void AddLeaf(std::vector<Leaf>& leaves, std::uint32_t first, Program program) {
  if (!leaves.empty() && SameProgram(leaves.back().program, program)) return;
  leaves.push_back({first, std::move(program)});
}

std::vector<Leaf> MakeLeaves(const std::vector<NumberedRule>& rules, Action otherwise) {
  std::vector<Leaf> leaves;
  std::uint32_t next = 0;
  for (const NumberedRule& numbered : rules) {
    CHECK(numbered.number >= next);
    if (numbered.number > next) AddLeaf(leaves, next, {Return(otherwise)});
    AddLeaf(leaves, numbered.number, CompileRule(*numbered.rule));
    next = numbered.number + 1;
  }
  AddLeaf(leaves, next, {Return(otherwise)});
  return leaves;
}

// With the number in the accumulator: the lower half of the leaves, then the upper.
Program CompileSearch(const Leaf* begin, const Leaf* end) {
  if (end - begin == 1) return begin->program;
  const Leaf* middle = begin + (end - begin) / 2;
  const Program lower = CompileSearch(begin, middle);
  Program program = {BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, middle->first, 0, 1), Skip(lower.size())};
  Append(program, lower);
  Append(program, CompileSearch(middle, end));
  return program;
}

}  // namespace

std::vector<sock_filter> Compile(std::uint32_t audit_arch, std::vector<NumberedRule> rules,
                                 Action otherwise) {
  std::ranges::sort(rules, {}, &NumberedRule::number);
  Program program = {Load(offsetof(seccomp_data, arch)),
                     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, audit_arch, 1, 0), Return(KillProcess()),
                     Load(offsetof(seccomp_data, nr))};
  if (audit_arch == AUDIT_ARCH_X86_64) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 0, 1));
    program.push_back(Return(KillProcess()));
  }
  const std::vector<Leaf> leaves = MakeLeaves(rules, otherwise);
  Append(program, CompileSearch(leaves.data(), leaves.data() + leaves.size()));
  CHECK(program.size() <= BPF_MAXINSNS);
  return program;
}

}  // namespace cofferdam::sandbox::seccomp
