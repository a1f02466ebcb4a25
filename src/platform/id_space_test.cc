#include "platform/id_space.h"

#include <gmock/gmock.h>

namespace cofferdam::platform {
namespace {

using testing::Optional;

constexpr const char* kAll = "         0          0 4294967295\n";
constexpr const char* kContainer = "         0     100000      65536\n";

IdFacts Machine() { return {.uid_map = kAll, .gid_map = kAll}; }

TEST(IdSpace, IsWhatNobodyElseIsGiven) {
  const IdSpace space(Machine());
  EXPECT_EQ(space.size(), 35'925U);
  EXPECT_EQ(space.Describe(), "2000203776 to 2147352575");
  EXPECT_THAT(space.AtOrAbove(0), Optional(2'000'203'776U));
  EXPECT_THAT(space.AtOrAbove(2'000'203'777U), Optional(2'000'207'872U));
  EXPECT_THAT(space.AtOrAbove(2'147'348'480U), Optional(2'147'348'480U));
  EXPECT_EQ(space.AtOrAbove(2'147'348'481U), std::nullopt);
}

TEST(IdSpace, LeavesOutWhatTheMachineHasGivenAway) {
  const std::vector<std::pair<std::string IdFacts::*, std::string>> files = {
      {&IdFacts::subuid, "alice:100000:65536\nbob:2000207872:4096\n"},
      {&IdFacts::subgid, "bob:2000211967:2\n"},
      {&IdFacts::passwd, "eve:x:2000207872:100::/:/bin/sh\n"},
      {&IdFacts::passwd, "eve:x:1000:2000211967::/:/bin/sh\n"},
      {&IdFacts::group, "eves:x:2000208000:eve\n"}};
  const std::uint32_t next[] = {2'000'211'968, 2'000'216'064, 2'000'211'968, 2'000'211'968,
                                2'000'211'968};
  for (std::size_t i = 0; i < files.size(); ++i) {
    IdFacts facts = Machine();
    facts.*files[i].first = files[i].second;
    const IdSpace space(facts);
    EXPECT_THAT(space.AtOrAbove(2'000'203'777U), Optional(next[i])) << files[i].second;
    EXPECT_THAT(space.AtOrAbove(0), Optional(2'000'203'776U));
  }
}

TEST(IdSpace, LinesThatNameNoIdsChangeNothing) {
  IdFacts facts = Machine();
  facts.subuid = "\n:\nx:y:z\nbob:-1:4096\nbob:2000203776\nbob:99999999999:1\n";
  facts.passwd = "root:x:0:0::/:/bin/sh\n+::::::\nx:2000203776\n";
  EXPECT_EQ(IdSpace(facts).size(), IdSpace(Machine()).size());
}

TEST(IdSpace, TakesInAContainerWhatIsMappedForUidsAndGids) {
  const IdSpace space({.uid_map = kContainer, .gid_map = kContainer});
  EXPECT_EQ(space.Describe(), "16384 to 57343");
  EXPECT_EQ(space.size(), 10U);
  const IdSpace wide({.uid_map = "0 100000 65536\n65536 1000000 131072\n", .gid_map = kAll});
  EXPECT_EQ(wide.size(), 10U + 32U);
  EXPECT_THAT(wide.AtOrAbove(57'344), Optional(65'536U));
}

TEST(IdSpace, HasNothingWhereLessThanARangeIsMapped) {
  for (const char* map : {"", "0 1000 1\n", "0 1000 1\n1 100000 20000\n", "nonsense\n1 2\n"}) {
    const IdSpace space({.uid_map = map, .gid_map = kAll});
    EXPECT_EQ(space.size(), 0U) << map;
    EXPECT_EQ(space.AtOrAbove(0), std::nullopt);
    EXPECT_EQ(IdSpace({.uid_map = kAll, .gid_map = map}).size(), 0U) << map;
  }
}

TEST(IdSpace, PlatformsBeginApartAndWithinTheRanges) {
  IdFacts facts = Machine();
  facts.subuid = "bob:2000207872:4096\n";
  const IdSpace space(facts);
  EXPECT_EQ(space.StartFor("01900000-0000-7000-8000-000000000000"), 2'000'203'776U);
  EXPECT_EQ(space.StartFor("01900000-0000-7000-8000-000000000001"), 2'000'211'968U);
  // 35924 ranges; the digits are 35923 and 35924.
  EXPECT_EQ(space.StartFor("01900000-0000-7000-8000-000000008c53"), 2'147'348'480U);
  EXPECT_EQ(space.StartFor("01900000-0000-7000-8000-000000008c54"), 2'000'203'776U);
}

TEST(IdSpace, OfThisMachineCanBeRead) {
  const auto space = IdSpace::OfThisMachine();
  EXPECT_TRUE(space) << space.error().ToString();
}

}  // namespace
}  // namespace cofferdam::platform
