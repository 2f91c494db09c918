// ApiClient: queues look-ups and deletes, paces them per account, and turns replies into answers.
//
// One request's way: Find or Delete puts a job into its lane (one per account and class, first in, first out); StartDue
// takes jobs off lanes that have a token while there is room on the wire; Collect judges what came back. It must never
// let a key into an answer's words, and never answer a job twice.

#include "core/api.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <new>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/api_reply.h"
#include "core/api_request.h"
#include "core/api_text.h"
#include "core/api_time.h"
#include "core/clock_offset.h"
#include "core/http_multi.h"
#include "core/taxonomy.h"
#include "core/token_bucket.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

// Pages read in one look-up: 200 hits of a search, 20000 files of a folder. More are not worth their tokens.
constexpr int kMaxPages = 20;

// Room for what follows ImageKit's message in the words of an answer.
constexpr size_t kMaxMessageBytes = 350;
constexpr size_t kMaxRequestIdBytes = 64;

/// For one request, and gone with it.
HttpHeaders MakeHeaders(const MaskedSecret& key) {
  HttpHeaders headers;
  const SecretText lines[] = {"Authorization: " + BasicCredentials(View(key.Reveal())), "Accept: application/json"};
  for (const SecretText& line : lines) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    static_cast<void>(headers.release());  // the new list holds the old one
    headers.reset(longer);
  }
  return headers;
}

struct Account {
  ApiBase base;
  MaskedSecret key;
  ClockOffset clock;
};

struct Job {
  uint64_t ticket;
  int account;
  Operation operation;
  PathSearch search;    // kFind
  std::string file_id;  // kDelete
};

/// The queue of one account's requests of one class.
struct Lane {
  TokenBucket bucket;
  std::deque<Job> jobs;
};

/// What the reply says beyond its status, in words.
std::string WordsOf(const HttpReply& reply, const ReplyBody& body, const PathSearch& search, Verdict verdict) {
  if (reply.transport != Transport::kComplete) return reply.error;
  if (reply.status >= 300 && reply.status < 400) {
    return reply.location.empty() ? "a redirect" : "a redirect to " + reply.location + ", not followed";
  }
  switch (body.kind) {
    case BodyKind::kMessage:
      return body.message;
    case BodyKind::kArray:
      if (verdict != Verdict::kBroken || !search.words.empty()) return search.words;
      return "an entry of the list is not shaped like ImageKit's";
    case BodyKind::kHtml:
      return "an HTML page, not an answer of ImageKit";
    case BodyKind::kText:
      return verdict == Verdict::kBroken ? "not an answer of ImageKit: " + body.message : body.message;
    case BodyKind::kEmpty:
    case BodyKind::kJson:
      break;
  }
  return verdict == Verdict::kBroken ? "not an answer of ImageKit" : "";
}

}  // namespace

class ApiClient::Impl {
 public:
  explicit Impl(const TransportOptions& options)
      : max_in_flight_(static_cast<size_t>(options.max_in_flight)), http_(options) {}

  int AddAccount(const AccountAccess& access);
  void Find(uint64_t ticket, int account, const LibraryPath& path);
  void Delete(uint64_t ticket, int account, const std::string& file_id);
  void Probe(uint64_t ticket, int account);
  int64_t ClockOffsetMs(int account) const { return Checked(account).clock.Ms(); }
  int DeletesReady(int account) const;
  int DeleteWaitMs(int account) const;
  bool Busy() const noexcept { return queued_ > 0 || !on_wire_.empty() || !answers_.empty(); }
  bool NextAnswer(Answer* answer);
  void Abandon() noexcept;
  int TimeoutMs() const;
  /// After libcurl has run: judges what came and starts what may be started.
  void Advance() {
    Collect();
    StartDue();
  }

  HttpMulti& http() noexcept { return http_; }

 private:
  // Lanes come in pairs: account 0's reads, its writes, account 1's reads, ...
  Lane& LaneOf(const Job& job) {
    return lanes_[static_cast<size_t>(job.account) * 2 + (job.operation == Operation::kDelete ? 1 : 0)];
  }
  const Account& Checked(int account) const;
  std::string TargetOf(const Job& job) const;
  void Queue(Job job);
  void Refuse(const Job& job, const std::string& why);
  void StartDue();
  void Start(Job job);
  void Collect();
  void Judge(Job job, const HttpReply& reply);
  bool JudgeList(Job* job, const ReplyBody& body, Verdict* verdict);
  std::string Detail(const Account& account, const HttpReply& reply, const std::string& words) const;

  const size_t max_in_flight_;
  std::vector<Account> accounts_;
  std::vector<Lane> lanes_;
  size_t next_lane_ = 0;  // where StartDue goes on, so that accounts take turns
  size_t queued_ = 0;     // in all lanes

  std::unordered_map<uint64_t, Job> on_wire_;  // by request id
  uint64_t last_request_ = 0;
  std::deque<Answer> answers_;
  HttpMulti http_;
};

int ApiClient::Impl::AddAccount(const AccountAccess& access) {
  for (const double rate : {access.read_rate, access.write_rate}) {
    if (!std::isfinite(rate) || rate <= 0) throw std::invalid_argument("a request rate must be above zero");
  }
  for (const double burst : {access.read_burst, access.write_burst}) {
    if (!std::isfinite(burst) || burst < 0) throw std::invalid_argument("a request burst must not be negative");
  }
  CheckPrivateKey(View(access.private_key));
  Account account = {ReadApiUrl(access.api_url), MaskedSecret(View(access.private_key)), {}};

  accounts_.reserve(accounts_.size() + 1);  // so that the two vectors cannot come out of step
  lanes_.reserve(lanes_.size() + 2);
  const int64_t now = MonotonicMs();
  lanes_.push_back({TokenBucket(access.read_rate, access.read_burst, now), {}});
  lanes_.push_back({TokenBucket(access.write_rate, access.write_burst, now), {}});
  accounts_.push_back(std::move(account));
  return static_cast<int>(accounts_.size()) - 1;
}

const Account& ApiClient::Impl::Checked(int account) const {
  if (account < 0 || static_cast<size_t>(account) >= accounts_.size()) throw std::invalid_argument("no such account");
  return accounts_[static_cast<size_t>(account)];
}

void ApiClient::Impl::Find(uint64_t ticket, int account, const LibraryPath& path) {
  const ApiBase& base = Checked(account).base;
  Job job = {ticket, account, Operation::kFind, PathSearch(path, CanBeQuoted(path.name)), ""};
  const std::string why_not = WhyNotFindable(path);
  if (!why_not.empty()) return Refuse(job, why_not);
  // 16 bytes for the `skip` of later pages.
  if (base.path.size() + TargetOf(job).size() + 16 > kMaxTargetBytes) {
    return Refuse(job, "folder and name are too long for a request of 4 KB");
  }
  Queue(std::move(job));
}

void ApiClient::Impl::Delete(uint64_t ticket, int account, const std::string& file_id) {
  Checked(account);
  Job job = {ticket, account, Operation::kDelete, PathSearch(), file_id};
  if (!IsFileId(file_id)) return Refuse(job, "the fileId is not made of letters and digits");
  Queue(std::move(job));
}

void ApiClient::Impl::Probe(uint64_t ticket, int account) {
  Checked(account);
  Queue({ticket, account, Operation::kProbe, PathSearch(), ""});
}

int ApiClient::Impl::DeletesReady(int account) const {
  Checked(account);
  const size_t busy = on_wire_.size() + static_cast<size_t>(queued_);
  const size_t room = max_in_flight_ > busy ? max_in_flight_ - busy : 0;
  const int tokens = lanes_[static_cast<size_t>(account) * 2 + 1].bucket.Ready(MonotonicMs());
  return std::min(tokens, static_cast<int>(room));
}

int ApiClient::Impl::DeleteWaitMs(int account) const {
  Checked(account);
  return static_cast<int>(lanes_[static_cast<size_t>(account) * 2 + 1].bucket.WaitMs(MonotonicMs()));
}

std::string ApiClient::Impl::TargetOf(const Job& job) const {
  if (job.operation == Operation::kDelete) return DeleteTarget(job.file_id);
  if (job.operation == Operation::kProbe) return ProbeTarget();
  const PathSearch& search = job.search;
  return search.by_name() ? SearchTarget(search.wanted(), search.next_skip())
                          : ListTarget(search.wanted().folder, search.next_skip());
}

void ApiClient::Impl::Queue(Job job) {
  Lane& lane = LaneOf(job);
  lane.jobs.push_back(std::move(job));
  ++queued_;
}

/// Answers without a request.
void ApiClient::Impl::Refuse(const Job& job, const std::string& why) {
  Answer answer;
  answer.ticket = job.ticket;
  answer.operation = job.operation;
  answer.verdict = Verdict::kRejected;
  answer.detail = why;
  answers_.push_back(std::move(answer));
}

bool ApiClient::Impl::NextAnswer(Answer* answer) {
  if (answers_.empty()) return false;
  *answer = std::move(answers_.front());
  answers_.pop_front();
  return true;
}

void ApiClient::Impl::Abandon() noexcept {
  http_.Abandon();
  on_wire_.clear();
  for (Lane& lane : lanes_) lane.jobs.clear();
  queued_ = 0;
}

int ApiClient::Impl::TimeoutMs() const {
  if (!answers_.empty()) return 0;
  int64_t wait = http_.TimeoutMs();
  if (queued_ > 0 && on_wire_.size() < max_in_flight_) {
    const int64_t now = MonotonicMs();
    for (const Lane& lane : lanes_) {
      if (lane.jobs.empty()) continue;
      const int64_t lane_wait = lane.bucket.WaitMs(now);
      wait = wait < 0 ? lane_wait : std::min(wait, lane_wait);
    }
  }
  return static_cast<int>(wait);
}

void ApiClient::Impl::StartDue() {
  const int64_t now = MonotonicMs();
  size_t passed = 0;  // lanes without anything to start, in a row
  while (queued_ > 0 && on_wire_.size() < max_in_flight_ && passed < lanes_.size()) {
    Lane& lane = lanes_[next_lane_];
    next_lane_ = (next_lane_ + 1) % lanes_.size();
    if (lane.jobs.empty() || !lane.bucket.TryTake(now)) {
      ++passed;
      continue;
    }
    passed = 0;
    Job job = std::move(lane.jobs.front());
    lane.jobs.pop_front();
    --queued_;
    Start(std::move(job));
  }
}

void ApiClient::Impl::Start(Job job) {
  const Account& account = accounts_[static_cast<size_t>(job.account)];
  HttpRequest request;
  request.id = ++last_request_;
  request.operation = job.operation;
  request.url = account.base.origin + account.base.path + TargetOf(job);
  request.plain_http = account.base.plain;
  request.headers = MakeHeaders(account.key);
  on_wire_.emplace(request.id, std::move(job));
  http_.Start(std::move(request));
}

void ApiClient::Impl::Collect() {
  HttpReply reply;
  while (http_.NextReply(&reply)) {
    const auto found = on_wire_.find(reply.id);
    Job job = std::move(found->second);
    on_wire_.erase(found);
    Judge(std::move(job), reply);
  }
}

void ApiClient::Impl::Judge(Job job, const HttpReply& reply) {
  Answer answer;
  answer.ticket = job.ticket;
  answer.operation = job.operation;
  answer.http_status = reply.status;

  ReplyBody body;
  if (reply.transport == Transport::kComplete) {
    body = ReadBody(reply.body, reply.content_type);
    answer.verdict = JudgeAnswer(job.operation, reply.status, body.kind);
  } else {
    answer.verdict = JudgeFailure(reply.transport);
  }

  Account& account = accounts_[static_cast<size_t>(job.account)];
  const int64_t date = answer.verdict == Verdict::kBroken ? -1 : ParseHttpDate(reply.date);
  if (date > 0) account.clock.Add(date, reply.date_seen_ms);

  if (answer.verdict == Verdict::kFound && job.operation == Operation::kProbe) {
    answer.verdict = ReadProbe(body, &answer.file);
  } else if (answer.verdict == Verdict::kFound && !JudgeList(&job, body, &answer.verdict)) {
    // The next page goes before the other look-ups, so that the list has little time to change meanwhile.
    Lane& lane = LaneOf(job);
    lane.jobs.push_front(std::move(job));
    ++queued_;
    return;
  }
  if (answer.verdict == Verdict::kFound && job.operation == Operation::kFind) answer.file = job.search.file;
  if (answer.verdict == Verdict::kThrottled) {
    answer.retry_after_ms = RetryAfterMs(reply.rate_limit_reset, reply.retry_after, UnixMs());
    LaneOf(job).bucket.PauseUntil(MonotonicMs() + answer.retry_after_ms);
  }
  answer.detail = Detail(account, reply, WordsOf(reply, body, job.search, answer.verdict));
  answers_.push_back(std::move(answer));
}

/// Reads a page of a look-up. False: another page is needed.
bool ApiClient::Impl::JudgeList(Job* job, const ReplyBody& body, Verdict* verdict) {
  if (!job->search.ReadPage(body)) {
    // A page that is not full is the last one: no total is given (section 2.3).
    if (body.entries < (job->search.by_name() ? kSearchLimit : kListLimit)) {
      job->search.Conclude();
    } else if (job->search.pages() >= kMaxPages) {
      job->search.GiveUp();
    } else {
      return false;
    }
  }
  *verdict = job->search.verdict;
  return true;
}

/// "HTTP 500: Internal server error (request 5f0c1d3e)".
std::string ApiClient::Impl::Detail(const Account& account, const HttpReply& reply, const std::string& words) const {
  // Each part is cut on its own, so that a long message does not cost the request id that support asks for.
  const std::vector<SecretText> secrets = SecretsOf(View(account.key.Reveal()));
  const auto fit = [&](const std::string& text, size_t max_bytes) {
    return CleanText(HideSecrets(text, secrets), max_bytes);
  };
  std::string detail = reply.status == 0 ? "" : "HTTP " + std::to_string(reply.status);
  if (!words.empty()) detail += (detail.empty() ? "" : ": ") + fit(words, kMaxMessageBytes);
  if (!reply.request_id.empty()) detail += " (request " + fit(reply.request_id, kMaxRequestIdBytes) + ")";
  return CleanText(detail, kMaxDetailBytes);
}

ApiClient::ApiClient(const TransportOptions& options) : impl_(std::make_unique<Impl>(options)) {}
ApiClient::~ApiClient() = default;

int ApiClient::AddAccount(const AccountAccess& access) { return impl_->AddAccount(access); }
void ApiClient::Find(uint64_t ticket, int account, const LibraryPath& path) { impl_->Find(ticket, account, path); }
void ApiClient::Delete(uint64_t ticket, int account, const std::string& file_id) {
  impl_->Delete(ticket, account, file_id);
}
void ApiClient::Probe(uint64_t ticket, int account) { impl_->Probe(ticket, account); }
int64_t ApiClient::ClockOffsetMs(int account) const { return impl_->ClockOffsetMs(account); }
int ApiClient::DeletesReady(int account) const { return impl_->DeletesReady(account); }
int ApiClient::DeleteWaitMs(int account) const { return impl_->DeleteWaitMs(account); }
bool ApiClient::Busy() const noexcept { return impl_->Busy(); }
bool ApiClient::NextAnswer(Answer* answer) { return impl_->NextAnswer(answer); }
void ApiClient::Abandon() noexcept { impl_->Abandon(); }
const std::vector<ApiClient::Socket>& ApiClient::Sockets() const noexcept { return impl_->http().Sockets(); }
uint64_t ApiClient::SocketsVersion() const noexcept { return impl_->http().SocketsVersion(); }
int ApiClient::TimeoutMs() const { return impl_->TimeoutMs(); }

void ApiClient::OnSocket(int fd, bool readable, bool writable) {
  impl_->http().OnSocket(fd, readable, writable);
  impl_->Advance();
}

void ApiClient::OnTimer() {
  impl_->http().OnTimer();
  impl_->Advance();
}

}  // namespace imagekit
