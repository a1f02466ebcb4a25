// What the static worker is made of, from the linker's own account.
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "layering/source_tree.h"

namespace cofferdam::layering {
namespace {

const std::set<std::string> kAllowed = {
    // Ours: the program itself and the folders that design.md names for it.
    "main.cc.o", "libcofferdam_base_worker.a", "libcofferdam_sys_worker.a",
    "libcofferdam_protocol_worker.a", "libcofferdam_sandbox_layers_worker.a",
    "libcofferdam_worker_worker.a",
    // Others: messages, regular expressions, the standard libraries and the program's start.
    "libprotobuf-lite.a", "libre2.a", "libstdc++.a", "libc.a", "libm.a", "libm-2.36.a", "libmvec.a",
    "libgcc.a", "libgcc_eh.a", "crt1.o", "crti.o", "crtn.o", "crtbeginT.o", "crtend.o"};

// The names of the files that the linker opened.
std::set<std::string> LoadedFiles(const std::string& map) {
  std::set<std::string> names;
  std::istringstream lines(map);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kLoad = "LOAD ";
    if (!line.starts_with(kLoad)) continue;
    names.insert(line.substr(std::max(line.rfind('/') + 1, kLoad.size())));
  }
  return names;
}

TEST(WorkersLinkMap, HoldsTheNamedArchivesAndNothingElse) {
  const std::set<std::string> loaded = LoadedFiles(ReadText(COFFERDAM_WORKER_MAP));
  ASSERT_TRUE(loaded.contains("main.cc.o")) << "no map at " << COFFERDAM_WORKER_MAP;
  for (const std::string& name : loaded) {
    const bool versioned_math = name.starts_with("libm-2.") && name.ends_with(".a");
    EXPECT_TRUE(kAllowed.contains(name) || versioned_math) << name;
  }
}

TEST(WorkersLinkMap, NamesAreTakenFromTheLinesOfLoadedFiles) {
  EXPECT_EQ(LoadedFiles("LOAD /usr/lib/libx.a\nx LOAD y\nLOAD plain.o\n"),
            (std::set<std::string>{"libx.a", "plain.o"}));
}

}  // namespace
}  // namespace cofferdam::layering
