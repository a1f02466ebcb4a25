// A field of a status text is a part of it, of one line, and is found wherever it stands first; and
// whatever an id map says, the id for tools is none of the superuser's or nobody's.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "sandbox/spec.h"
#include "sandbox/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const char* field : {"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd",
                            "CapAmb", "NoNewPrivs", "Seccomp"}) {
    const std::string_view value = sandbox::StatusField(text, field);
    CHECK(value.empty() || text.find(value) != std::string::npos);
    CHECK(value.find('\n') == std::string_view::npos);
    CHECK(value.empty() || (value.front() != '\t' && value.back() != '\t'));
    const std::string line = std::string(field) + ":\t1\t2 \n";
    CHECK(sandbox::StatusField(line + text, field) == "1\t2");
    // What comes later never stands in for what was there.
    if (!value.empty()) CHECK(sandbox::StatusField(text + "\n" + line, field) == value);
  }
  const std::uint32_t id = sandbox::PickToolId(text);
  CHECK(id <= 65'533 || id == 1'879'048'192);
  return 0;
}
