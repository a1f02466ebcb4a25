// The thread behind net::HttpClient: one curl multi handle and the transfers on it. Private to
// net/.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "net/http_client.h"
#include "net/http_transfer.h"

namespace cofferdam::net::internal {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// Start, Resume, Cancel and Stop may be called from any thread; all else happens on its own
/// thread.
class HttpEngine {
 public:
  static Result<std::shared_ptr<HttpEngine>> Create(HttpClientOptions options);
  /// `multi` is ours. Use Create().
  HttpEngine(HttpClientOptions options, CURLM* multi);
  /// Stop() must have been called.
  ~HttpEngine();

  /// Begins a request that has been checked. kBusy when there are too many, kCancelled after
  /// Stop().
  Result<std::shared_ptr<HttpTransfer>> Start(HttpRequest request);
  /// The transfer has room again.
  void Resume(std::shared_ptr<HttpTransfer> transfer);
  /// Nobody reads the transfer any more.
  void Cancel(std::shared_ptr<HttpTransfer> transfer);
  /// Ends every transfer and the thread. Called once.
  void Stop();

 private:
  using Time = std::chrono::steady_clock::time_point;

  // What the engine's thread knows of a transfer; curl holds pointers into it.
  struct Active {
    std::shared_ptr<HttpTransfer> transfer;
    HttpRequest request;
    std::unique_ptr<CURL, EasyDeleter> easy;
    std::unique_ptr<curl_slist, ListDeleter> header_list;
    char error_text[CURL_ERROR_SIZE] = {};
    HttpTransfer::Head head;
    std::size_t head_bytes = 0;
    bool has_head = false;
    bool paused = false;  // curl holds body bytes until the reader makes room
    Status failure;       // set by a callback that made curl stop
    Time last_progress;
  };

  struct Command {
    enum class Kind { kStart, kResume, kCancel };
    Kind kind;
    std::shared_ptr<HttpTransfer> transfer;
    std::unique_ptr<Active> active;  // with kStart
  };

  static std::size_t OnHeader(char* bytes, std::size_t size, std::size_t count, void* active);
  static std::size_t OnBody(char* bytes, std::size_t size, std::size_t count, void* active);
  static curl_socket_t OpenSocket(void* engine, curlsocktype purpose, curl_sockaddr* address);

  void Post(Command command);
  void Run();
  void TakeCommands();
  void Add(std::unique_ptr<Active> active);
  Status Configure(Active& active) const;
  Status ConfigureMethod(Active& active) const;
  void CollectFinished();
  void ExpireIdle();
  // When the transfer fails for want of progress, or never.
  static Deadline ProgressDeadline(const Active& active);
  int PollMillis() const;
  void End(HttpTransfer* transfer, Status outcome);

  const HttpClientOptions options_;
  const std::unique_ptr<CURLM, MultiDeleter> multi_;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::vector<Command> commands_;
  bool stopping_ = false;
  std::size_t transfer_count_ = 0;

  // The thread's own.
  std::unordered_map<HttpTransfer*, std::unique_ptr<Active>> active_;

  std::thread thread_;
};

}  // namespace cofferdam::net::internal
