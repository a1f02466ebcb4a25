#include "worker/search.h"

#include <fcntl.h>
#include <re2/re2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "protocol/framing.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "worker/result.h"

namespace cofferdam::worker {
namespace {

namespace v1 = protocol::v1;

constexpr int kMaxDepth = 128;
constexpr std::size_t kMaxLineBytes = 2000;
constexpr std::uint32_t kMaxResults = 100'000;
constexpr std::uint32_t kMaxContextLines = 50;
// A file whose first block has a zero byte is taken for binary, as grep(1) does.
constexpr std::size_t kSniffedBytes = 8192;
constexpr std::size_t kMaxPatternBytes = 4096;
constexpr std::int64_t kRegexMemoryBytes = 16 << 20;

// Writes records and counts results; false when the limit is reached or the reader is gone.
class Output {
 public:
  Output(int fd, std::uint32_t limit)
      : fd_(fd), left_(limit == 0 ? kMaxResults : std::min(limit, kMaxResults)) {}

  bool full() const { return full_; }

  void Result(v1::SearchRecord record) {
    if (left_ == 0) {
      v1::SearchRecord last;
      last.set_truncated(true);
      Write(last);
      full_ = true;
      return;
    }
    --left_;
    Write(record);
  }
  void Context(v1::SearchRecord record) {
    record.set_context(true);
    Write(record);
  }

 private:
  void Write(const v1::SearchRecord& record) {
    if (!sys::WriteAll(fd_, protocol::EncodeFrame(record.SerializeAsString()))) full_ = true;
  }
  int fd_;
  std::uint32_t left_;
  bool full_ = false;
};

std::unique_ptr<RE2> Compile(const std::string& pattern, bool ignore_case, bool literal) {
  RE2::Options options(RE2::Quiet);
  options.set_encoding(RE2::Options::EncodingUTF8);
  options.set_case_sensitive(!ignore_case);
  options.set_literal(literal);
  options.set_max_mem(kRegexMemoryBytes);
  return std::make_unique<RE2>(pattern, options);
}

// A glob with a slash is about the path below the start, one without about the name.
class PathFilter {
 public:
  explicit PathFilter(const std::string& glob)
      : whole_path_(glob.find('/') != std::string::npos),
        regex_(glob.empty() ? nullptr : Compile(GlobToRegex(glob), false, false)) {}
  bool ok() const { return regex_ == nullptr || regex_->ok(); }
  bool Fits(const std::string& path, const std::string& name) const {
    return regex_ == nullptr || RE2::FullMatch(whole_path_ ? path : name, *regex_);
  }

 private:
  bool whole_path_;
  std::unique_ptr<RE2> regex_;
};

// Calls `visit(directory, name, path, info)` for everything below, sorted, parents first, until it
// returns false. What cannot be opened is passed over, as are version control's own folders.
template <typename Visit>
bool Walk(int directory, const std::string& prefix, int depth, const Visit& visit) {
  auto names = sys::ListDirectory(directory);
  if (!names) return true;
  std::ranges::sort(*names);
  for (const std::string& name : *names) {
    struct stat info;
    if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const std::string path = prefix + name;
    const bool is_directory = S_ISDIR(info.st_mode);
    if (is_directory && name == ".git") continue;
    if (!visit(directory, name, path, info)) return false;
    if (!is_directory || depth >= kMaxDepth) continue;
    const auto below = sys::OpenAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (below && !Walk(below->get(), path + "/", depth + 1, visit)) return false;
  }
  return true;
}

// Reads a file line by line; a line of any length takes kMaxLineBytes.
class LineReader {
 public:
  explicit LineReader(int fd) : fd_(fd) {}

  /// What comes next, as far as it is there; empty at the end.
  std::string_view Peek() {
    if (at_ == end_) Fill();
    return {buffer_.data() + at_, end_ - at_};
  }
  bool Next(std::string& line) {
    line.clear();
    bool any = false;
    for (bool ended = false; !ended;) {
      const std::string_view ready = Peek();
      if (ready.empty()) break;
      any = true;
      const std::size_t length = std::min(ready.find('\n'), ready.size());
      ended = length < ready.size();
      line += ready.substr(0, std::min(length, kMaxLineBytes - line.size()));
      at_ += length + (ended ? 1 : 0);
    }
    if (any && !line.empty() && line.back() == '\r') line.pop_back();
    return any;
  }

 private:
  void Fill() {
    // A file that cannot be read any further ends here.
    at_ = 0;
    end_ = sys::Read(fd_, buffer_).value_or(0);
  }

  int fd_;
  std::array<char, 64 * 1024> buffer_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
};

class FileGrep {
 public:
  FileGrep(const RE2& regex, std::uint32_t context, Output& output)
      : regex_(regex), context_(std::min(context, kMaxContextLines)), output_(output) {}

  void Search(int fd, const std::string& path) {
    LineReader reader(fd);
    if (reader.Peek().substr(0, kSniffedBytes).contains('\0')) return;
    before_.clear();
    std::uint32_t after = 0;
    std::uint64_t number = 0;
    for (std::string line; !output_.full() && reader.Next(line);) {
      ++number;
      v1::SearchRecord record;
      record.set_path(path);
      record.set_line_number(number);
      record.set_text(line);
      if (RE2::PartialMatch(line, regex_)) {
        for (v1::SearchRecord& earlier : before_) output_.Context(std::move(earlier));
        before_.clear();
        output_.Result(std::move(record));
        after = context_;
      } else if (after > 0) {
        --after;
        output_.Context(std::move(record));
      } else if (context_ > 0) {
        if (before_.size() == context_) before_.pop_front();
        before_.push_back(std::move(record));
      }
    }
  }

 private:
  const RE2& regex_;
  std::uint32_t context_;
  Output& output_;
  std::deque<v1::SearchRecord> before_;
};

}  // namespace

std::string GlobToRegex(const std::string& glob) {
  std::string regex;
  int braces = 0;
  for (std::size_t i = 0; i < glob.size(); ++i) {
    const char c = glob[i];
    if (c == '*' && i + 1 < glob.size() && glob[i + 1] == '*') {
      ++i;
      const bool whole_part = i + 1 < glob.size() && glob[i + 1] == '/';
      if (whole_part) ++i;
      regex += whole_part ? "(?:.*/)?" : ".*";
    } else if (c == '*') {
      regex += "[^/]*";
    } else if (c == '?') {
      regex += "[^/]";
    } else if (c == '{' && glob.find('}', i) != std::string::npos) {
      regex += "(?:";
      ++braces;
    } else if (c == '}' && braces > 0) {
      regex += ")";
      --braces;
    } else if (c == ',' && braces > 0) {
      regex += "|";
    } else if (c == '[' && glob.find(']', i + 2) != std::string::npos) {
      const std::size_t end = glob.find(']', i + 2);
      std::string set = glob.substr(i + 1, end - i - 1);
      if (set[0] == '!') set[0] = '^';
      std::string escaped;
      for (const char member : set) {
        if (member == '\\' || member == '[') escaped += '\\';
        escaped += member;
      }
      regex += "[" + escaped + "]";
      i = end;
    } else {
      regex += RE2::QuoteMeta(std::string(1, c));
    }
  }
  return "(?s:" + regex + ")";
}

v1::OpExit GrepOp(const v1::GrepRequest& request, const ChildPipes& pipes) {
  if (request.pattern().empty() || request.pattern().size() > kMaxPatternBytes)
    return FailedExit(
        MakeError(v1::ERROR_PROTOCOL, "the pattern is empty or longer than 4096 bytes"));
  const auto regex = Compile(request.pattern(), request.ignore_case(), request.literal());
  if (!regex->ok())
    return FailedExit(MakeError(v1::ERROR_PROTOCOL, "bad pattern: " + regex->error()));
  const PathFilter filter(request.glob());
  if (!filter.ok())
    return FailedExit(MakeError(v1::ERROR_PROTOCOL, "bad glob '" + request.glob() + "'"));
  const std::string start = PathOrHere(request.path());
  auto fd = sys::OpenNamed(start, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) return FailedExit(FromError(fd.error()));
  const auto info = sys::Stat(fd->get());
  if (!info) return FailedExit(FromError(info.error()));
  Output output(pipes.output, request.max_matches());
  FileGrep grep(*regex, request.context_lines(), output);
  if (S_ISREG(info->st_mode)) {
    grep.Search(fd->get(), start);
    return {};
  }
  Walk(fd->get(), "", 0,
       [&](int directory, const std::string& name, const std::string& path,
           const struct stat& entry) {
         if (!S_ISREG(entry.st_mode) || !filter.Fits(path, name)) return true;
         auto file = sys::OpenAt(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
         if (file) grep.Search(file->get(), path);
         return !output.full();
       });
  return {};
}

v1::OpExit FindOp(const v1::FindRequest& request, const ChildPipes& pipes) {
  if (request.glob().empty() || request.glob().size() > kMaxPatternBytes)
    return FailedExit(MakeError(v1::ERROR_PROTOCOL, "the glob is empty or longer than 4096 bytes"));
  const PathFilter filter(request.glob());
  if (!filter.ok())
    return FailedExit(MakeError(v1::ERROR_PROTOCOL, "bad glob '" + request.glob() + "'"));
  const auto fd = sys::OpenNamed(PathOrHere(request.path()), O_RDONLY | O_DIRECTORY);
  if (!fd) return FailedExit(FromError(fd.error()));
  Output output(pipes.output, request.max_results());
  Walk(fd->get(), "", 0,
       [&](int, const std::string& name, const std::string& path, const struct stat&) {
         if (!filter.Fits(path, name)) return true;
         v1::SearchRecord record;
         record.set_path(path);
         output.Result(std::move(record));
         return !output.full();
       });
  return {};
}

}  // namespace cofferdam::worker
