// The surface of a sandbox: what the agent loop, `exec` and the tools use, wherever the hands are.
// LocalSandbox (local_sandbox.h) serves it on this machine.
//
// Paths are paths inside the sandbox; a relative one is below /workspace. Every call blocks until
// it is done, its deadline passes or its stop token is set; a call that ends early has ended the
// operation and all processes of it, or the sandbox. After kSandboxLost every further call fails
// the same way. Calls from several threads are served one after the other.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"

namespace cofferdam::sandbox {

enum class OutputStream { kStdout, kStderr };

/// Receives output as it comes, in pieces of any size, on the calling thread.
using OutputSink = std::function<void(OutputStream, std::string_view)>;

struct ExecRequest {
  /// The program and its arguments; a name without a slash is looked up in PATH.
  std::vector<std::string> argv = {};
  std::string working_directory = "/workspace";
  /// Added to the sandbox's own few variables (PATH, HOME, USER, LANG, TERM), replacing equal
  /// names.
  std::vector<std::pair<std::string, std::string>> environment = {};
  /// Given to the program whole; then its standard input ends.
  std::string stdin_bytes = {};
  /// After this the process tree is killed and the result says so; zero is no limit.
  std::chrono::milliseconds timeout{0};
};

struct ExecResult {
  /// The exit code; 128 + signal when a signal ended it, as shells say it.
  int exit_code = 0;
  /// The signal that ended the program, or 0.
  int signal = 0;
  bool timed_out = false;
  bool cancelled = false;
  /// The kernel killed something in the sandbox for memory while this ran.
  bool out_of_memory = false;
  /// The sandbox's process limit refused a fork while this ran.
  bool out_of_processes = false;
  std::chrono::milliseconds duration{0};
  std::uint64_t stdout_bytes = 0;
  std::uint64_t stderr_bytes = 0;
};

enum class FileKind { kFile, kDirectory, kSymlink, kOther };

struct FileEntry {
  std::string name = {};
  /// Relative to the directory that was listed.
  std::string path = {};
  FileKind kind = FileKind::kFile;
  std::uint64_t size = 0;
  std::int64_t modified_unix_millis = 0;
  std::uint32_t mode = 0;  // permission bits
};

struct ReadRequest {
  std::string path = {};
  std::uint64_t offset = 0;
  /// At most so many bytes; what is beyond is told by ReadResult::total_size.
  std::uint64_t max_bytes = 1 << 20;
};

struct ReadResult {
  std::string bytes = {};
  std::uint64_t total_size = 0;
};

struct WriteRequest {
  std::string path = {};
  std::string bytes = {};
  bool create_parents = false;
  bool append = false;
  /// 0 keeps the mode of an existing file and gives a new one 0644.
  std::uint32_t mode = 0;
};

struct GrepRequest {
  /// RE2 syntax; matching takes linear time.
  std::string pattern = {};
  std::string path = ".";
  /// Only files whose name, or path when the glob has a slash, fits; empty is all.
  std::string glob = {};
  bool ignore_case = false;
  bool literal = false;
  std::uint32_t context_lines = 0;
  std::uint32_t max_matches = 1000;
};

struct GrepLine {
  std::string path = {};
  std::uint64_t line_number = 0;
  /// Without its end of line; cut at a limit of the worker's.
  std::string text;
  /// False for a line of context.
  bool is_match = true;
};

struct GrepResult {
  std::vector<GrepLine> lines;
  /// There were more matches than asked for, or than are allowed in one answer.
  bool truncated = false;
};

struct FindRequest {
  /// Shell glob with ** for any number of directories.
  std::string glob = {};
  std::string path = ".";
  std::uint32_t max_results = 1000;
};

struct FindResult {
  /// Relative to `path`, sorted.
  std::vector<std::string> paths;
  bool truncated = false;
};

/// How one layer was seen to be in force, for the record.
struct LayerEvidence {
  std::string layer;   // "seccomp"
  std::string how;     // "read", "probed" or "missing"
  std::string detail;  // "Seccomp: 2 in /proc/<pid>/status"
};

class Sandbox {
 public:
  virtual ~Sandbox() = default;

  /// A name for the record, unique in the platform.
  virtual const std::string& id() const = 0;
  /// The layers as they were verified before the first operation.
  virtual const std::vector<LayerEvidence>& layers() const = 0;

  virtual Status Ping(Deadline deadline) = 0;
  virtual Result<ExecResult> Exec(const ExecRequest& request, const OutputSink& sink,
                                  std::stop_token stop) = 0;
  virtual Result<ReadResult> Read(const ReadRequest& request, std::stop_token stop) = 0;
  /// Atomic unless it appends: readers see the old file or the new one.
  virtual Status Write(const WriteRequest& request, std::stop_token stop) = 0;
  virtual Result<GrepResult> Grep(const GrepRequest& request, std::stop_token stop) = 0;
  virtual Result<FindResult> Find(const FindRequest& request, std::stop_token stop) = 0;
  /// The entries of a directory, sorted by name; with `recursive` of all below, parents first.
  virtual Result<std::vector<FileEntry>> List(const std::string& path, bool recursive) = 0;
  /// Nothing when there is no such file; a symlink is described, not followed.
  virtual Result<std::optional<FileEntry>> Stat(const std::string& path) = 0;
  virtual Status MakeDirectory(const std::string& path, bool parents) = 0;
  virtual Status Move(const std::string& from, const std::string& to, bool overwrite) = 0;
  virtual Status Remove(const std::string& path, bool recursive) = 0;

  /// Kills every process of the sandbox and waits until they are gone. Safe to call twice.
  virtual void Kill() = 0;
};

}  // namespace cofferdam::sandbox
