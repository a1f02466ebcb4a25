// Whatever is taken for the journal of an apply leads nowhere but below the project, and is read
// again as the very same when it is written.
#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "projects/apply_journal.h"
#include "sys/testing/temp_dir.h"

namespace {

using namespace cofferdam;
using projects::ApplyState;
using projects::JournalContent;

void CheckPath(const std::string& path) {
  CHECK(!path.empty() && path.size() <= projects::kMaxApplyPathBytes);
  CHECK(!path.contains('\0'));
  const std::string whole = "/" + path + "/";
  for (const char* odd : {"//", "/./", "/../"}) CHECK(!whole.contains(odd));
}

JournalContent Written(const JournalContent& content) {
  static const sys::TempDir folder("/dev/shm");
  static const sys::UniqueFd directory = *sys::Open(folder.path(), O_PATH | O_DIRECTORY);
  CHECK(projects::ApplyJournal::Remove(directory.get()));
  auto journal = *projects::ApplyJournal::Begin(directory.get(), content.stage);
  if (content.state != ApplyState::kBegun) {
    CHECK(journal.WriteSteps(content.steps));
    CHECK(journal.WriteState(ApplyState::kReady));
    if (content.state != ApplyState::kReady) CHECK(journal.WriteState(content.state));
  }
  return **projects::ReadJournalIn(directory.get());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto content = projects::ReadJournal(storage::TextSource(text));
  if (!content) {
    const ErrorCode code = content.error().code;
    CHECK(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported);
    return 0;
  }
  if (!*content) return 0;
  CHECK((*content)->stage.starts_with(projects::kStagePrefix) && !(*content)->stage.contains('/'));
  for (const projects::Step& step : (*content)->steps) CheckPath(step.path);
  CHECK(Written(**content) == **content);
  return 0;
}
