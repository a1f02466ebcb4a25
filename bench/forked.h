// A process of the bench's own that answers questions: a host of another size, or one of several.
#pragma once

#include <sys/types.h>

#include <functional>
#include <span>
#include <type_traits>

#include "sys/fd.h"

namespace cofferdam::bench {

/// Forks while this process has one thread. The child dies with it (and its launchers with the
/// child), and gets no signal of the terminal, so that whoever started it ends it in order.
class ForkedProcess {
 public:
  /// `serve` runs in the child, with the child's end of the socket; then the child ends.
  explicit ForkedProcess(const std::function<void(int socket)>& serve);
  ForkedProcess(ForkedProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), socket_(std::move(other.socket_)) {}
  ForkedProcess& operator=(ForkedProcess&&) = delete;
  /// Closes the socket and waits for the child's end.
  ~ForkedProcess();

  pid_t pid() const { return pid_; }
  int socket() const { return socket_.get(); }

 private:
  pid_t pid_ = -1;
  sys::UniqueFd socket_;
};

/// Whole messages; false when the other end is gone.
bool SendBytes(int socket, std::span<const char> bytes);
bool ReceiveBytes(int socket, std::span<char> bytes);

/// Answers each Question with an Answer, in a process of its own. Ask sends, Take waits, so that
/// several can work at once; an answerer that has ended ends the bench.
template <typename Question, typename Answer>
class Answerer {
  static_assert(std::is_trivially_copyable_v<Question> && std::is_trivially_copyable_v<Answer>);

 public:
  using Serve = std::function<Answer(const Question&)>;

  /// `make` runs in the child and returns what answers there.
  explicit Answerer(const std::function<Serve()>& make)
      : process_([&make](int socket) {
          const Serve serve = make();
          Question question;
          while (ReceiveBytes(socket, {reinterpret_cast<char*>(&question), sizeof(question)})) {
            const Answer answer = serve(question);
            if (!SendBytes(socket, {reinterpret_cast<const char*>(&answer), sizeof(answer)})) break;
          }
        }) {}

  bool Ask(const Question& question) const {
    return SendBytes(process_.socket(),
                     {reinterpret_cast<const char*>(&question), sizeof(question)});
  }
  bool Take(Answer& answer) const {
    return ReceiveBytes(process_.socket(), {reinterpret_cast<char*>(&answer), sizeof(answer)});
  }
  pid_t pid() const { return process_.pid(); }

 private:
  ForkedProcess process_;
};

}  // namespace cofferdam::bench
