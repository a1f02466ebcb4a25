#include "net/http_engine.h"

#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"

namespace cofferdam::net::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMaxHeaders = 256;
constexpr std::size_t kMaxHeadBytes = 256 << 10;
constexpr std::size_t kMaxErrorTextBytes = 300;

long Millis(milliseconds duration) {
  // 0 means "no limit" to curl.
  return static_cast<long>(std::clamp<milliseconds::rep>(duration.count(), 1, INT_MAX));
}

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

Status OutcomeOf(CURLcode code, const char* error_text) {
  if (code == CURLE_OK) return {};
  const std::string reason =
      ToValidUtf8(*error_text != '\0' ? error_text : curl_easy_strerror(code));
  std::string message = "the HTTP request failed: ";
  message += Utf8Prefix(reason, kMaxErrorTextBytes);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Err(ErrorCode::kTimeout, std::move(message));
    case CURLE_URL_MALFORMAT:
      return Err(ErrorCode::kInvalidArgument, std::move(message));
    default:
      return Err(ErrorCode::kConnection, std::move(message));
  }
}

Status Cancelled() { return Err(ErrorCode::kCancelled, "the HTTP request was cancelled"); }

}  // namespace

Result<std::shared_ptr<HttpEngine>> HttpEngine::Create(HttpClientOptions options) {
  // Counted and thread-safe in this version of curl; a second call costs nothing.
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return Err(ErrorCode::kOs, "libcurl cannot be initialised");
  CURLM* multi = curl_multi_init();
  if (multi == nullptr) return Err(ErrorCode::kOs, "libcurl has no memory for a client");
  auto engine = std::make_shared<HttpEngine>(std::move(options), multi);
  // The thread borrows the engine; Stop() joins it.
  engine->thread_ = std::thread([raw = engine.get()] { raw->Run(); });
  return engine;
}

HttpEngine::HttpEngine(HttpClientOptions options, CURLM* multi)
    : options_(std::move(options)), multi_(multi) {}

HttpEngine::~HttpEngine() { CHECK(!thread_.joinable()); }

Result<std::shared_ptr<HttpTransfer>> HttpEngine::Start(HttpRequest request) {
  auto active = std::make_unique<Active>();
  active->transfer =
      std::make_shared<HttpTransfer>(options_.max_buffered_bytes, request.max_body_bytes);
  active->request = std::move(request);
  auto transfer = active->transfer;
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return std::unexpected(Cancelled().error());
    if (transfer_count_ >= options_.max_transfers)
      return Err(ErrorCode::kBusy, "too many HTTP requests are in flight");
    ++transfer_count_;
    commands_.push_back({Command::Kind::kStart, transfer, std::move(active)});
  }
  curl_multi_wakeup(multi_.get());
  return transfer;
}

void HttpEngine::Resume(std::shared_ptr<HttpTransfer> transfer) {
  Post({Command::Kind::kResume, std::move(transfer), nullptr});
}

void HttpEngine::Cancel(std::shared_ptr<HttpTransfer> transfer) {
  Post({Command::Kind::kCancel, std::move(transfer), nullptr});
}

void HttpEngine::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  curl_multi_wakeup(multi_.get());
  thread_.join();
}

void HttpEngine::Post(Command command) {
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return;
    commands_.push_back(std::move(command));
  }
  curl_multi_wakeup(multi_.get());
}

void HttpEngine::Run() {
  // Signals are for other threads, and a peer that hangs up must not raise SIGPIPE here.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (true) {
    TakeCommands();
    {
      const std::scoped_lock lock(mutex_);
      if (stopping_) break;
    }
    int running = 0;
    CHECK(curl_multi_perform(multi_.get(), &running) == CURLM_OK);
    CollectFinished();
    ExpireIdle();
    CHECK(curl_multi_poll(multi_.get(), nullptr, 0, PollMillis(), nullptr) == CURLM_OK);
  }
  TakeCommands();  // what came before Stop() must end too
  while (!active_.empty()) End(active_.begin()->first, Cancelled());
}

void HttpEngine::TakeCommands() {
  std::vector<Command> commands;
  {
    const std::scoped_lock lock(mutex_);
    commands.swap(commands_);
  }
  for (Command& command : commands) {
    if (command.kind == Command::Kind::kStart) {
      Add(std::move(command.active));
      continue;
    }
    const auto found = active_.find(command.transfer.get());
    if (found == active_.end()) continue;  // it ended meanwhile
    if (command.kind == Command::Kind::kCancel) {
      End(command.transfer.get(), Cancelled());
    } else {
      found->second->paused = false;
      found->second->last_progress = steady_clock::now();
      curl_easy_pause(found->second->easy.get(), CURLPAUSE_CONT);
    }
  }
}

void HttpEngine::Add(std::unique_ptr<Active> active) {
  Active& added = *active;
  HttpTransfer* const key = active->transfer.get();
  active_.emplace(key, std::move(active));
  added.last_progress = steady_clock::now();
  added.easy.reset(curl_easy_init());
  if (Status status = Configure(added); !status) {
    End(key, std::move(status));
    return;
  }
  CHECK(curl_multi_add_handle(multi_.get(), added.easy.get()) == CURLM_OK);
}

Status HttpEngine::Configure(Active& active) const {
  CURL* const easy = active.easy.get();
  if (easy == nullptr) return Err(ErrorCode::kOs, "libcurl has no memory for a request");
  const HttpRequest& request = active.request;
  bool ok = true;
  const auto set = [&ok, easy](CURLoption option, auto value) {
    ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
  };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_PROXY, options_.proxy.c_str());  // empty: not even that of the environment
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
  set(CURLOPT_CONNECTTIMEOUT_MS, Millis(request.connect_timeout));
  set(CURLOPT_TIMEOUT_MS, Millis(request.total_timeout));
  set(CURLOPT_ERRORBUFFER, active.error_text);
  set(CURLOPT_PRIVATE, &active);
  set(CURLOPT_HEADERFUNCTION, &HttpEngine::OnHeader);
  set(CURLOPT_HEADERDATA, &active);
  set(CURLOPT_WRITEFUNCTION, &HttpEngine::OnBody);
  set(CURLOPT_WRITEDATA, &active);
  set(CURLOPT_OPENSOCKETFUNCTION, &HttpEngine::OpenSocket);
  if (!ok) return Err(ErrorCode::kInvalidArgument, "libcurl refused the request's URL or options");
  return ConfigureMethod(active);
}

Status HttpEngine::ConfigureMethod(Active& active) const {
  CURL* const easy = active.easy.get();
  const HttpRequest& request = active.request;
  bool ok = true;
  const auto set = [&ok, easy](CURLoption option, auto value) {
    ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
  };
  if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request.method == "POST" || !request.body.empty()) {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.data());  // borrowed: the request outlives the handle
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  const auto append = [&ok, &active](const std::string& line) {
    curl_slist* longer = curl_slist_append(active.header_list.get(), line.c_str());
    ok = ok && longer != nullptr;
    if (longer == nullptr) return;
    static_cast<void>(active.header_list.release());
    active.header_list.reset(longer);
  };
  // Without the first curl waits for a "100 Continue" before it sends a long body; without the
  // second it calls every body a form.
  append("Expect:");
  append("Content-Type:");
  for (const Header& header : request.headers)
    append(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  set(CURLOPT_HTTPHEADER, active.header_list.get());
  if (!ok) return Err(ErrorCode::kOs, "libcurl has no memory for a request");
  return {};
}

curl_socket_t HttpEngine::OpenSocket(void*, curlsocktype, curl_sockaddr* address) {
  // curl's own sockets would be inherited by every program that another thread starts.
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::size_t HttpEngine::OnHeader(char* bytes, std::size_t size, std::size_t count, void* data) {
  Active& active = *static_cast<Active*>(data);
  const std::size_t length = size * count;
  active.last_progress = steady_clock::now();
  if (active.has_head) return length;  // a trailer behind the last chunk
  const std::string_view line = Trim({bytes, length});
  active.head_bytes += length;
  if (active.head_bytes > kMaxHeadBytes || active.head.headers.size() > kMaxHeaders) {
    active.failure = Err(ErrorCode::kTooLarge, "the HTTP response has too many headers");
    return 0;
  }
  if (line.starts_with("HTTP/")) {
    active.head.headers.clear();  // an informational response came before
  } else if (line.empty()) {
    long status = 0;
    curl_easy_getinfo(active.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return length;
    active.has_head = true;
    active.head.status = static_cast<int>(status);
    active.transfer->SetHead(std::move(active.head));
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    active.head.headers.push_back(
        {LowerCase(Trim(line.substr(0, colon))), std::string(Trim(line.substr(colon + 1)))});
  }
  return length;
}

std::size_t HttpEngine::OnBody(char* bytes, std::size_t size, std::size_t count, void* data) {
  Active& active = *static_cast<Active*>(data);
  const std::size_t length = size * count;
  active.last_progress = steady_clock::now();
  switch (active.transfer->AppendBody({bytes, length})) {
    case HttpTransfer::Append::kTaken:
      return length;
    case HttpTransfer::Append::kFull:
      active.paused = true;
      return CURL_WRITEFUNC_PAUSE;
    case HttpTransfer::Append::kTooLarge:
      break;
  }
  active.failure =
      Err(ErrorCode::kTooLarge, "the HTTP response has more than " +
                                    std::to_string(active.request.max_body_bytes) + " bytes");
  return 0;
}

void HttpEngine::CollectFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Active* active = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &active);
    Status outcome = active->failure ? OutcomeOf(message->data.result, active->error_text)
                                     : std::move(active->failure);
    End(active->transfer.get(), std::move(outcome));
  }
}

Deadline HttpEngine::ProgressDeadline(const Active& active) {
  if (active.paused) return Deadline::Never();
  const HttpRequest& request = active.request;
  return Deadline::At(active.last_progress +
                      (active.has_head ? request.idle_timeout : request.first_byte_timeout));
}

void HttpEngine::ExpireIdle() {
  std::vector<HttpTransfer*> expired;
  for (const auto& [transfer, active] : active_)
    if (ProgressDeadline(*active).Expired()) expired.push_back(transfer);
  for (HttpTransfer* transfer : expired) {
    const bool has_head = active_.at(transfer)->has_head;
    End(transfer, Err(ErrorCode::kTimeout, has_head ? "the HTTP response stopped coming"
                                                    : "the server did not answer in time"));
  }
}

int HttpEngine::PollMillis() const {
  // curl refuses to wait without a limit, and a wakeup ends the wait anyway.
  Deadline nearest = Deadline::After(std::chrono::hours(1));
  for (const auto& [transfer, active] : active_)
    nearest = Deadline::Earlier(nearest, ProgressDeadline(*active));
  return nearest.PollTimeoutMillis();
}

void HttpEngine::End(HttpTransfer* transfer, Status outcome) {
  const auto found = active_.find(transfer);
  CHECK(found != active_.end());
  const std::unique_ptr<Active> active = std::move(found->second);
  active_.erase(found);
  if (active->easy) curl_multi_remove_handle(multi_.get(), active->easy.get());
  {
    const std::scoped_lock lock(mutex_);
    --transfer_count_;
  }
  active->transfer->Finish(std::move(outcome));
}

}  // namespace cofferdam::net::internal
