#include "worker/operation.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "protocol/framing.h"
#include "sys/process.h"
#include "worker/result.h"

namespace cofferdam::worker {
namespace {

namespace v1 = protocol::v1;

constexpr std::size_t kMaxQueuedInputs = 8;
// A list of files is the largest; a frame holds no more anyway.
constexpr std::size_t kMaxResultBytes = protocol::kMaxFrameBytes - 1024;

// Fixed numbers in the child, so that everything else can be closed.
enum ChildFd : int {
  kStatus = 3,
  kControl = 4,
  kInput = 5,
  kOutput = 6,
  kErrors = 7,
  kFirstFree = 8
};

struct PipePairs {
  std::optional<sys::Pipe> input, output, errors;
  sys::Pipe status, control;
};

Result<PipePairs> MakePipes(const Operation::Options& options) {
  PipePairs pairs;
  ASSIGN_OR_RETURN(pairs.status, sys::NewPipe());
  ASSIGN_OR_RETURN(pairs.control, sys::NewPipe());
  if (options.wants_input) {
    ASSIGN_OR_RETURN(pairs.input, sys::NewPipe());
  }
  if (options.output_channel != v1::OP_CHANNEL_UNSPECIFIED) {
    ASSIGN_OR_RETURN(pairs.output, sys::NewPipe());
  }
  if (options.wants_errors) {
    ASSIGN_OR_RETURN(pairs.errors, sys::NewPipe());
  }
  return pairs;
}

// In the child: the pipes get their fixed numbers, everything else is closed.
ChildPipes TakePipes(const PipePairs& pairs) {
  struct Move {
    const sys::UniqueFd* from;
    int to;
  };
  std::vector<Move> moves = {{&pairs.status.write_end, kStatus},
                             {&pairs.control.read_end, kControl}};
  ChildPipes pipes{.status = kStatus, .control = kControl};
  if (pairs.input) {
    moves.push_back({&pairs.input->read_end, kInput});
    pipes.input = kInput;
  }
  if (pairs.output) {
    moves.push_back({&pairs.output->write_end, kOutput});
    pipes.output = kOutput;
  }
  if (pairs.errors) {
    moves.push_back({&pairs.errors->write_end, kErrors});
    pipes.errors = kErrors;
  }
  constexpr int kOutOfTheWay = 64;
  std::vector<int> high;
  for (const Move& move : moves)
    high.push_back(::fcntl(move.from->get(), F_DUPFD_CLOEXEC, kOutOfTheWay));
  std::vector<int> keep = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  for (std::size_t i = 0; i < moves.size(); ++i) {
    CHECK(::dup3(high[i], moves[i].to, O_CLOEXEC) == moves[i].to);
    keep.push_back(moves[i].to);
  }
  sys::CloseAllExcept(keep);
  return pipes;
}

void MakeNonBlocking(const sys::UniqueFd& fd) {
  CHECK(sys::SetNonBlocking(fd.get(), true).has_value());
}

}  // namespace

Result<std::unique_ptr<Operation>> Operation::Start(Options options, const Work& work) {
  ASSIGN_OR_RETURN(PipePairs pairs, MakePipes(options));
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoError(errno, "starting a process");
  if (pid == 0) {
    work(TakePipes(pairs));
    ::_exit(0);
  }
  std::unique_ptr<Operation> operation(new Operation(std::move(options)));
  operation->pid_ = pid;
  operation->credit_ =
      std::max<std::uint64_t>(operation->options_.window_bytes, protocol::kMaxDataBytes);
  operation->result_pipe_ = std::move(pairs.status.read_end);
  operation->control_ = std::move(pairs.control.write_end);
  if (pairs.input) operation->input_pipe_ = std::move(pairs.input->write_end);
  if (pairs.output)
    operation->outputs_.push_back(
        {std::move(pairs.output->read_end), operation->options_.output_channel});
  if (pairs.errors)
    operation->outputs_.push_back({std::move(pairs.errors->read_end), v1::OP_CHANNEL_STDERR});
  MakeNonBlocking(operation->result_pipe_);
  for (const Output& output : operation->outputs_) MakeNonBlocking(output.fd);
  if (operation->input_pipe_.valid()) MakeNonBlocking(operation->input_pipe_);
  return operation;
}

void Operation::AddWaits(bool room, std::vector<pollfd>& waits) const {
  if (result_pipe_.valid()) waits.push_back({result_pipe_.get(), POLLIN, 0});
  if (input_pipe_.valid() && !inputs_.empty()) waits.push_back({input_pipe_.get(), POLLOUT, 0});
  if (!room || CreditLeft() == 0) return;
  for (const Output& output : outputs_)
    if (output.fd.valid()) waits.push_back({output.fd.get(), POLLIN, 0});
}

void Operation::OnReady(const pollfd& ready, const Outlet& outlet) {
  if (ready.fd == result_pipe_.get()) return ReadResult(outlet.buffer);
  if (ready.fd == input_pipe_.get()) return WriteInput(outlet);
  for (Output& output : outputs_)
    if (ready.fd == output.fd.get()) return ReadOutput(output, outlet);
}

void Operation::DrainAfterEnd(const Outlet& outlet) {
  if (!child_ended_) return;
  for (Output& output : outputs_) {
    std::uint64_t before = sent_ + 1;
    while (output.fd.valid() && CreditLeft() > 0 && before != sent_) {
      before = sent_;
      ReadOutput(output, outlet);
    }
  }
}

void Operation::ReadOutput(Output& output, const Outlet& outlet) {
  static_assert(kBufferBytes <= protocol::kMaxDataBytes);
  const std::span<char> buffer = outlet.buffer;
  const std::size_t room =
      static_cast<std::size_t>(std::min<std::uint64_t>(CreditLeft(), buffer.size()));
  if (room == 0) return;
  const ssize_t size = ::read(output.fd.get(), buffer.data(), room);
  // Once the child is gone nothing more can come, unless the pipe was handed to a stranger.
  if (size == 0 || (size < 0 && errno == EAGAIN && child_ended_)) return output.fd.Reset();
  if (size < 0) return;
  output.total += static_cast<std::uint64_t>(size);
  sent_ += static_cast<std::uint64_t>(size);
  v1::OpFrame frame;
  frame.set_op_id(id());
  frame.set_seq(next_seq_++);
  frame.mutable_data()->set_channel(output.channel);
  frame.mutable_data()->set_bytes(buffer.data(), static_cast<std::size_t>(size));
  outlet.send(std::move(frame));
}

void Operation::ReadResult(std::span<char> buffer) {
  const ssize_t size = ::read(result_pipe_.get(), buffer.data(), buffer.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0 || result_.size() + static_cast<std::size_t>(size) > kMaxResultBytes)
    return result_pipe_.Reset();
  result_.append(buffer.data(), static_cast<std::size_t>(size));
}

bool Operation::TakeInput(const std::string& request_id, const v1::WriteChunk& chunk) {
  if (!input_pipe_.valid() || inputs_.size() >= kMaxQueuedInputs) return false;
  inputs_.push_back({request_id, chunk.seq(), chunk.bytes(), chunk.last()});
  return true;
}

std::vector<std::string> Operation::WaitingInputs() const {
  std::vector<std::string> request_ids;
  for (const Input& input : inputs_)
    if (!input.request_id.empty()) request_ids.push_back(input.request_id);
  return request_ids;
}

void Operation::WriteInput(const Outlet& outlet) {
  while (!inputs_.empty()) {
    Input& input = inputs_.front();
    if (!input.bytes.empty()) {
      const ssize_t size = ::write(input_pipe_.get(), input.bytes.data(), input.bytes.size());
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // A program that does not read its input has lost it; that is no error.
      if (size < 0)
        input.bytes.clear();
      else
        input.bytes.erase(0, static_cast<std::size_t>(size));
      if (!input.bytes.empty()) return;
    }
    outlet.acknowledge(input.request_id, input.seq);
    const bool last = input.last;
    inputs_.erase(inputs_.begin());
    if (last) return CloseInput();
  }
}

// A file is committed by a byte on its control pipe; to a command the end of input is enough, and
// a byte there would mean stop.
void Operation::CloseInput() {
  input_pipe_.Reset();
  if (StoresInput()) static_cast<void>(sys::WriteAll(control_.get(), "y"));
}

void Operation::Grant(std::uint64_t credit_bytes) { credit_ = std::max(credit_, credit_bytes); }

void Operation::Stop(StopReason reason) {
  if (stop_reason_ || child_ended_) return;
  stop_reason_ = reason;
  must_converge_ = Deadline::After(kConvergence);
  // A supervisor takes the end of its control pipe as the word to kill, and a write, whose input
  // ends with it, as the word to give up and to remove its new file. Whatever else is under way has
  // nothing to tidy.
  control_.Reset();
  if (StoresInput())
    input_pipe_.Reset();
  else if (!options_.wants_errors)
    ::kill(pid_, SIGKILL);
}

Deadline Operation::NextDeadline() const {
  if (child_ended_) return Deadline::Never();
  return stop_reason_ ? must_converge_ : options_.deadline;
}

bool Operation::CheckTime() {
  if (child_ended_) return true;
  if (!stop_reason_ && options_.deadline.Expired()) Stop(StopReason::kTimedOut);
  return !(stop_reason_ && must_converge_.Expired());
}

void Operation::OnChildEnded(int wait_status) {
  child_ended_ = true;
  // The number may be another process's from now on.
  pid_ = -1;
  wait_status_ = wait_status;
  ended_ = std::chrono::steady_clock::now();
  input_pipe_.Reset();
}

bool Operation::Finished() const {
  return child_ended_ && !result_pipe_.valid() &&
         std::ranges::none_of(outputs_, [](const Output& output) { return output.fd.valid(); });
}

v1::OpExit Operation::Exit() const {
  v1::OpExit exit;
  if (!exit.ParseFromString(result_) || (wait_status_ != 0 && result_.empty())) {
    exit.Clear();
    exit.set_exit_code(137);
    exit.set_signal(SIGKILL);
    if (!stop_reason_)
      *exit.mutable_error() =
          MakeError(v1::ERROR_OS, "the operation's supervisor was killed from inside the sandbox");
  }
  // A write that was stopped too late has happened.
  const bool stored = StoresInput() && !exit.has_error() && exit.signal() == 0;
  exit.set_timed_out(!stored && stop_reason_ == StopReason::kTimedOut);
  exit.set_cancelled(!stored && stop_reason_ == StopReason::kCancelled);
  exit.set_duration_ms(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(ended_ - started_).count()));
  for (const Output& output : outputs_)
    (*exit.mutable_totals())[static_cast<std::uint32_t>(output.channel)] = output.total;
  return exit;
}

v1::OpFrame Operation::ExitFrame() const {
  v1::OpFrame frame;
  frame.set_op_id(id());
  frame.set_seq(next_seq_);
  *frame.mutable_exit() = Exit();
  return frame;
}

}  // namespace cofferdam::worker
