#include "sandbox/layers/seccomp/compiler.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

#include "base/check.h"

namespace cofferdam::sandbox::seccomp {
namespace {

constexpr std::uint32_t kX32Bit = 0x40000000;
constexpr std::uint32_t kAllBits = 0xffffffff;

// Both supported architectures are little-endian, so the low half of an argument comes first.
std::uint32_t LowHalfOf(unsigned argument) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                    argument * sizeof(std::uint64_t));
}

// Builds a program from its end: what an instruction leads to is there before it, since classic BPF
// only jumps forward. Equal code is there once.
class Assembler {
 public:
  // An instruction, by its distance from the end.
  using Place = std::size_t;

  Place Return(Action action) { return Emit({BPF_RET | BPF_K, action, 0, 0}); }
  Place Load(std::size_t offset, Place next) {
    return Emit({BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset), next, next});
  }
  Place And(std::uint32_t mask, Place next) {
    return Emit({BPF_ALU | BPF_AND | BPF_K, mask, next, next});
  }
  // `test` is BPF_JEQ, BPF_JGE or BPF_JGT.
  Place Branch(std::uint16_t test, std::uint32_t value, Place yes, Place no) {
    if (yes == no) return yes;
    return Emit({static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), value, yes, no});
  }

  std::vector<sock_filter> Finish(Place begin) {
    CHECK(begin == Continue(begin));
    std::ranges::reverse(program_);
    return std::move(program_);
  }

 private:
  struct Instruction {
    std::uint16_t code;
    std::uint32_t value;
    Place yes;
    Place no;
    auto operator<=>(const Instruction&) const = default;
  };

  Place Emit(const Instruction& instruction) {
    if (const auto known = known_.find(instruction); known != known_.end()) return known->second;
    sock_filter raw{instruction.code, 0, 0, instruction.value};
    if (BPF_CLASS(instruction.code) == BPF_JMP) {
      const Place yes = Near(instruction.yes);
      const Place no = Near(instruction.no);
      raw.jt = Distance(yes);
      raw.jf = Distance(no);
    } else if (BPF_CLASS(instruction.code) != BPF_RET) {
      Continue(instruction.yes);
    }
    program_.push_back(raw);
    return known_[instruction] = program_.size() - 1;
  }

  // How many instructions a jump that is emitted next leaves out.
  std::uint8_t Distance(Place target) const {
    CHECK(program_.size() - 1 - target <= std::numeric_limits<std::uint8_t>::max());
    return static_cast<std::uint8_t>(program_.size() - 1 - target);
  }

  // `target`, or a long jump to it, within the reach of a branch that is emitted next or after one
  // more long jump.
  Place Near(Place target) {
    constexpr std::size_t kReach = std::numeric_limits<std::uint8_t>::max() - 1;
    if (program_.size() - 1 - target <= kReach) return target;
    const auto known = long_jumps_.find(target);
    if (known != long_jumps_.end() && program_.size() - 1 - known->second <= kReach)
      return known->second;
    return long_jumps_[target] = LongJump(target);
  }

  // Where execution comes to `target` without a jump.
  Place Continue(Place target) { return target == program_.size() - 1 ? target : LongJump(target); }

  Place LongJump(Place target) {
    const auto distance = static_cast<std::uint32_t>(program_.size() - 1 - target);
    program_.push_back(BPF_STMT(BPF_JMP | BPF_JA, distance));
    return program_.size() - 1;
  }

  std::vector<sock_filter> program_;  // backwards
  std::map<Instruction, Place> known_;
  std::map<Place, Place> long_jumps_;
};

using Place = Assembler::Place;

// `yes` when the condition holds, else `no`.
Place CompileCondition(Assembler& assembler, const Condition& condition, Place yes, Place no) {
  std::vector<std::uint32_t> values = condition.values;
  std::ranges::sort(values);
  // From the highest value to the lowest, each run of neighbours as one range. In the program the
  // lowest comes first, so what is below a range is in none.
  Place place = no;
  for (std::size_t end = values.size(); end > 0;) {
    std::size_t begin = end - 1;
    while (begin > 0 && values[begin - 1] + 1 >= values[begin]) --begin;
    const std::uint32_t low = values[begin];
    const std::uint32_t high = values[end - 1];
    if (low == high) {
      place = assembler.Branch(BPF_JEQ, low, yes, place);
    } else {
      place = assembler.Branch(BPF_JGT, high, place, yes);
      if (low > 0) place = assembler.Branch(BPF_JGE, low, place, no);
    }
    end = begin;
  }
  if (condition.mask != kAllBits) place = assembler.And(condition.mask, place);
  return assembler.Load(LowHalfOf(condition.argument), place);
}

Place CompileRule(Assembler& assembler, const Rule& rule) {
  Place place = assembler.Return(rule.action);
  for (auto check = rule.checks.rbegin(); check != rule.checks.rend(); ++check) {
    const Place otherwise = place;
    place = assembler.Return(check->action);
    for (auto condition = check->all_of.rbegin(); condition != check->all_of.rend(); ++condition)
      place = CompileCondition(assembler, *condition, place, otherwise);
  }
  return place;
}

// All numbers from `first` up to the next leaf's go to `place`.
struct Leaf {
  std::uint32_t first;
  Place place;
};

void AddLeaf(std::vector<Leaf>& leaves, std::uint32_t first, Place place) {
  if (leaves.empty() || leaves.back().place != place) leaves.push_back({first, place});
}

// Finds the leaf of the number in the accumulator. Loading a filter costs what its instructions
// cost to translate, and the steps that the kernel takes to try it for every number once; this is
// the cheapest program of branches at the borders of leaves, and of comparisons where all leaves
// but single numbers lead to the same place.
class Search {
 public:
  explicit Search(std::vector<Leaf> leaves)
      : leaves_(std::move(leaves)), best_((leaves_.size() + 1) * (leaves_.size() + 1)) {
    for (std::size_t size = 1; size <= leaves_.size(); ++size)
      for (std::size_t begin = 0; begin + size <= leaves_.size(); ++begin)
        At(begin, begin + size) = Choose(begin, begin + size);
  }

  Place Compile(Assembler& assembler) { return Compile(assembler, 0, leaves_.size()); }

 private:
  // Measured on Linux 6.18: an instruction takes as long to translate as some 65 steps.
  static constexpr std::uint64_t kInstructionCost = 65;
  // The kernel tries the numbers below its own count, which was 470 then.
  static constexpr std::uint64_t kTriedNumbers = 470;

  struct Choice {
    std::uint64_t cost;
    std::size_t split;            // 0: single numbers are compared
    std::optional<Place> common;  // then the others lead here
  };

  Choice& At(std::size_t begin, std::size_t end) {
    return best_[begin * (leaves_.size() + 1) + end];
  }

  bool IsSingle(std::size_t leaf) const {
    return leaf + 1 < leaves_.size() && leaves_[leaf + 1].first == leaves_[leaf].first + 1;
  }

  // How many numbers the kernel tries in the leaves.
  std::uint64_t Weight(std::size_t begin, std::size_t end) const {
    const std::uint64_t last = end < leaves_.size()
                                   ? std::min<std::uint64_t>(leaves_[end].first, kTriedNumbers)
                                   : kTriedNumbers;
    return last - std::min<std::uint64_t>(leaves_[begin].first, last);
  }

  Choice Choose(std::size_t begin, std::size_t end) {
    Choice best = CompareSingles(begin, end);
    for (std::size_t split = begin + 1; split < end; ++split) {
      const std::uint64_t cost =
          At(begin, split).cost + At(split, end).cost + kInstructionCost + Weight(begin, end);
      if (cost < best.cost) best = {cost, split, std::nullopt};
    }
    return best;
  }

  // Possible when all leaves but single numbers lead to one place.
  Choice CompareSingles(std::size_t begin, std::size_t end) const {
    std::optional<Place> common;
    for (std::size_t leaf = begin; leaf < end; ++leaf) {
      if (IsSingle(leaf)) continue;
      if (common && *common != leaves_[leaf].place)
        return {std::numeric_limits<std::uint64_t>::max(), 0, std::nullopt};
      common = leaves_[leaf].place;
    }
    if (!common) common = leaves_[begin].place;
    std::uint64_t compared = 0;
    for (std::size_t leaf = begin; leaf < end; ++leaf)
      if (leaves_[leaf].place != *common) ++compared;
    return {compared * (kInstructionCost + Weight(begin, end)), 0, common};
  }

  Place Compile(Assembler& assembler, std::size_t begin, std::size_t end) {
    const Choice choice = At(begin, end);
    if (choice.split != 0) {
      const Place upper = Compile(assembler, choice.split, end);
      const Place lower = Compile(assembler, begin, choice.split);
      return assembler.Branch(BPF_JGE, leaves_[choice.split].first, upper, lower);
    }
    Place place = *choice.common;
    for (std::size_t leaf = begin; leaf < end; ++leaf)
      if (leaves_[leaf].place != *choice.common)
        place = assembler.Branch(BPF_JEQ, leaves_[leaf].first, leaves_[leaf].place, place);
    return place;
  }

  std::vector<Leaf> leaves_;
  std::vector<Choice> best_;
};

}  // namespace

std::vector<sock_filter> Compile(std::uint32_t audit_arch, std::vector<NumberedRule> rules,
                                 Action otherwise) {
  std::ranges::sort(rules, {}, &NumberedRule::number);
  Assembler assembler;
  const Place kill = assembler.Return(KillProcess());
  const Place unknown = assembler.Return(otherwise);
  std::vector<Leaf> leaves;
  std::uint32_t next = 0;
  for (const NumberedRule& numbered : rules) {
    CHECK(numbered.number >= next && numbered.number < kX32Bit);
    if (numbered.number > next) AddLeaf(leaves, next, unknown);
    AddLeaf(leaves, numbered.number, CompileRule(assembler, *numbered.rule));
    next = numbered.number + 1;
  }
  AddLeaf(leaves, next, unknown);
  if (audit_arch == AUDIT_ARCH_X86_64) AddLeaf(leaves, kX32Bit, kill);
  Place place = Search(std::move(leaves)).Compile(assembler);
  place = assembler.Load(offsetof(seccomp_data, nr), place);
  place = assembler.Branch(BPF_JEQ, audit_arch, place, kill);
  place = assembler.Load(offsetof(seccomp_data, arch), place);
  std::vector<sock_filter> program = assembler.Finish(place);
  CHECK(program.size() <= BPF_MAXINSNS);
  return program;
}

}  // namespace cofferdam::sandbox::seccomp
