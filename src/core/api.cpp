// ApiClient: what is sent when, and to whom an answer belongs.
//
// One request's way: Find, Probe and Purge put it into a queue of its account; StartDue takes requests off the queues
// whose account has a token while there is room on the wire; Delete goes at once, with the token and the place that were
// reserved for it; Collect hands what came back to api_answers.h. It must never send more than the pace and the wire
// allow (wire_places.h), and never answer a ticket twice.

#include "core/api.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "core/api_account.h"
#include "core/api_answers.h"
#include "core/api_request.h"
#include "core/api_text.h"
#include "core/http_multi.h"
#include "core/wire_places.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

// A purge takes the last token of the writes only when no delete was wanted for so long.
constexpr int64_t kQuietUs = 1000000;

// So soon it is looked whether there is a second token.
constexpr int64_t kTokenAgainUs = 50000;

constexpr int kMostInBulk = 100;

/// For one request, and gone with it.
HttpHeaders MakeHeaders(const MaskedSecret& key, HttpRequest::Method method) {
  HttpHeaders headers;
  const auto add = [&](const char* line) {
    curl_slist* longer = curl_slist_append(headers.get(), line);
    if (longer == nullptr) throw std::bad_alloc();
    static_cast<void>(headers.release());  // the new list holds the old one
    headers.reset(longer);
  };
  add(("Authorization: " + BasicCredentials(View(key.Reveal()))).c_str());
  add("Accept: application/json");
  if (method == HttpRequest::Method::kPost) {
    add("Content-Type: application/json");
    add("Expect:");  // libcurl would wait for a "100 Continue" before a longer body
  }
  return headers;
}

int CeilMs(int64_t us) noexcept { return static_cast<int>((us + 999) / 1000); }

WirePlaces::Kind KindOf(const Sent& sent) noexcept {
  if (sent.is_delete()) return WirePlaces::kDelete;
  return sent.request == Request::kPurge ? WirePlaces::kPurge : WirePlaces::kRead;
}

}  // namespace

class ApiClient::Impl {
 public:
  explicit Impl(const TransportOptions& options) : places_(options.max_in_flight), http_(options, places_.extra()) {}

  int AddAccount(const AccountAccess& access);
  void Find(uint64_t ticket, int account, const LibraryPath& path, const std::string& known_id, int most_together);
  void ExpectMore(int account, bool more) { Checked(account).look_ups.ExpectMore(more); }
  void GiveBackLookUps(int account, int64_t longest_ms);
  void GiveBackPurges(int account);
  int ReserveDeletes(int account, int most);
  void ReturnDeletes(int account, int count);
  void Delete(int account, const std::vector<FileToDelete>& files);
  int BulkSize(int account) const { return Checked(account).bulk_size; }
  void Purge(uint64_t ticket, int account, const std::string& url);
  void Probe(uint64_t ticket, int account) { Checked(account).probes.push_back(ticket); }
  void Inquire(int account, Inquiry inquiry) { Checked(account).inquiries.push_back(std::move(inquiry)); }
  int64_t ClockOffsetMs(int account) const { return Checked(account).clock.Ms(); }
  bool Sending() const noexcept { return http_.unsent() > 0; }
  RequestStatistics TakeStatistics(int account) { return std::exchange(Checked(account).statistics, {}); }
  int DeleteWaitMs(int account) const { return CeilMs(Checked(account).writes.WaitUs(MonotonicUs())); }
  bool Busy() const noexcept;
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
  Account& Checked(int account) const;
  bool MayPurge(const Account& account, int64_t now_us) const noexcept;
  int64_t InquiryWaitUs(const Account& account, int64_t now_us) const noexcept;
  void StartDue();
  bool StartRead(int number, int64_t now_us);
  bool StartPurge(int number, int64_t now_us);
  void Start(Sent sent, HttpRequest::Method method, const std::string& target, std::string body = "");
  void Release(Account* account, int deletes) noexcept;
  void Refuse(uint64_t ticket, Operation operation, const std::string& why);

  void Collect();

  WirePlaces places_;
  std::vector<std::unique_ptr<Account>> accounts_;
  size_t next_account_ = 0;  // where StartDue goes on, so that accounts take turns

  std::unordered_map<uint64_t, Sent> on_wire_;  // by request id
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
  if (!(access.list_share > 0 && access.list_share <= 1)) {
    throw std::invalid_argument("the share of a listing must be above zero, and at most one");
  }
  CheckPrivateKey(View(access.private_key));
  auto account = std::make_unique<Account>(access);
  account->bulk_size = std::clamp(account->bulk_size, 1, kMostInBulk);
  accounts_.push_back(std::move(account));
  return static_cast<int>(accounts_.size()) - 1;
}

Account& ApiClient::Impl::Checked(int account) const {
  if (account < 0 || static_cast<size_t>(account) >= accounts_.size()) throw std::invalid_argument("no such account");
  return *accounts_[static_cast<size_t>(account)];
}

void ApiClient::Impl::Find(uint64_t ticket, int account, const LibraryPath& path, const std::string& known_id,
                           int most_together) {
  const std::string why_not = Checked(account).look_ups.Add({ticket, path, known_id, most_together, 0});
  if (!why_not.empty()) Refuse(ticket, Operation::kFind, why_not);
}

void ApiClient::Impl::GiveBackLookUps(int account, int64_t longest_ms) {
  Account& from = Checked(account);
  Answer answer;
  answer.verdict = Verdict::kThrottled;
  answer.retry_after_ms = CeilMs(from.reads.WaitUs(MonotonicUs()));
  if (longest_ms >= 0 && answer.retry_after_ms <= longest_ms) return;
  answer.detail = "waits for its turn: the account's read_rate, or ImageKit's, is spent";
  for (const LookUp& look_up : from.look_ups.TakeAll()) {
    answer.ticket = look_up.ticket;
    answers_.push_back(answer);
  }
  answer.operation = Operation::kProbe;
  for (const uint64_t ticket : from.probes) {
    answer.ticket = ticket;
    answers_.push_back(answer);
  }
  from.probes.clear();
}

void ApiClient::Impl::GiveBackPurges(int account) {
  Account& from = Checked(account);
  Answer answer;
  answer.operation = Operation::kPurge;
  answer.verdict = Verdict::kThrottled;
  answer.detail = "waits: it was taken back before it was sent";
  for (const auto& purge : from.purges) {
    answer.ticket = purge.ticket;
    answers_.push_back(answer);
  }
  from.purges.clear();
}

int ApiClient::Impl::ReserveDeletes(int account, int most) {
  Account& from = Checked(account);
  if (most <= 0) return 0;
  const int64_t now = MonotonicUs();
  from.deletes_wanted_us = now;
  places_.WantDelete(now);
  int taken = 0;
  for (; taken < most && places_.RoomForDelete() && from.writes.TryTake(now); ++taken)
    places_.Take(WirePlaces::kReserved);
  from.reserved += taken;
  return taken;
}

void ApiClient::Impl::ReturnDeletes(int account, int count) {
  Account& to = Checked(account);
  count = std::clamp(count, 0, to.reserved);  // after Abandon() nothing is left to be returned
  for (int i = 0; i < count; ++i) to.writes.GiveBack();
  Release(&to, count);
}

void ApiClient::Impl::Release(Account* account, int deletes) noexcept {
  account->reserved -= deletes;
  places_.GiveBack(WirePlaces::kReserved, deletes);
}

void ApiClient::Impl::Delete(int account, const std::vector<FileToDelete>& files) {
  if (Checked(account).reserved < 1) throw std::invalid_argument("no delete is reserved");
  Sent sent;
  sent.account = account;
  for (const FileToDelete& file : files) {
    if (IsFileId(file.file_id)) {
      sent.deletion.Add(file);
    } else {
      Refuse(file.ticket, Operation::kDelete, "the fileId is not made of letters and digits");
    }
  }
  const std::vector<std::string>& ids = sent.deletion.file_ids();
  if (ids.empty()) return ReturnDeletes(account, 1);
  Release(&Checked(account), 1);
  sent.request = sent.deletion.bulk() ? Request::kBulkDelete : Request::kDelete;
  if (ids.size() == 1) {
    const std::string target = DeleteTarget(ids[0]);
    return Start(std::move(sent), HttpRequest::Method::kDelete, target);
  }
  std::string body = BulkDeleteBody(ids);
  Start(std::move(sent), HttpRequest::Method::kPost, BulkDeleteTarget(), std::move(body));
}

void ApiClient::Impl::Purge(uint64_t ticket, int account, const std::string& url) {
  Account& at = Checked(account);
  if (url.empty() || url.size() > kMaxTargetBytes || CleanText(url, url.size()) != url) {
    return Refuse(ticket, Operation::kPurge, "the URL is empty, too long, or no clean text");
  }
  at.purges.push_back({ticket, url});
}

/// Answers without a request.
void ApiClient::Impl::Refuse(uint64_t ticket, Operation operation, const std::string& why) {
  Answer answer;
  answer.ticket = ticket;
  answer.operation = operation;
  answer.verdict = Verdict::kRejected;
  answer.detail = why;
  answers_.push_back(std::move(answer));
}

bool ApiClient::Impl::Busy() const noexcept {
  if (!on_wire_.empty() || !answers_.empty()) return true;
  return std::any_of(accounts_.begin(), accounts_.end(), [](const auto& account) {
    return account->look_ups.Waiting() || !account->probes.empty() || !account->purges.empty() ||
           !account->inquiries.empty();
  });
}

bool ApiClient::Impl::NextAnswer(Answer* answer) {
  if (answers_.empty()) return false;
  *answer = std::move(answers_.front());
  answers_.pop_front();
  return true;
}

void ApiClient::Impl::Abandon() noexcept {
  http_.Abandon();
  const int64_t now = MonotonicUs();
  for (const auto& [id, sent] : on_wire_) {
    accounts_[static_cast<size_t>(sent.account)]->statistics.Add(sent.request, 0, now - sent.sent_us);
  }
  on_wire_.clear();
  places_.GiveBackAll();
  for (const auto& account : accounts_) {
    for (; account->reserved > 0; --account->reserved) account->writes.GiveBack();
    account->probes.clear();
    account->look_ups.Clear();
    account->purges.clear();
    account->inquiries.clear();
  }
}

int ApiClient::Impl::TimeoutMs() const {
  // Starting an urgent request may have finished others.
  if (!answers_.empty() || http_.HasReply()) return 0;
  int wait = http_.TimeoutMs();
  const auto at_most = [&](int64_t us) { wait = wait < 0 ? CeilMs(us) : std::min(wait, CeilMs(us)); };
  const int64_t now = MonotonicUs();
  const bool room = places_.RoomForRead(now);
  if (!room && places_.HeldUs(now) > 0) at_most(places_.HeldUs(now));
  for (const auto& account : accounts_) {
    if (account->look_ups.Waiting() || !account->probes.empty()) {
      if (room) at_most(account->reads.WaitUs(now));
      continue;
    }
    if (room && !account->inquiries.empty()) at_most(InquiryWaitUs(*account, now));
    if (places_.RoomForPurge() && !account->purges.empty()) {
      const int64_t quiet_us = account->deletes_wanted_us + kQuietUs;
      at_most(MayPurge(*account, now)
                  ? 0
                  : std::max({account->writes.WaitUs(now), quiet_us - now, account->purge_pause.WaitUs(now)}));
    }
  }
  return wait;
}

/// A purge is for later: it must not cost a delete its token.
bool ApiClient::Impl::MayPurge(const Account& account, int64_t now_us) const noexcept {
  if (account.purge_pause.WaitUs(now_us) > 0) return false;
  const int tokens = account.writes.Ready(now_us);
  return tokens >= 2 || (tokens >= 1 && now_us - account.deletes_wanted_us >= kQuietUs);
}

/// Pages of the library come after all else: they must not cost a look-up its token.
int64_t ApiClient::Impl::InquiryWaitUs(const Account& account, int64_t now_us) const noexcept {
  const int64_t wait_us = std::max(account.inquiry_pace.WaitUs(now_us), account.reads.WaitUs(now_us));
  if (wait_us > 0 || account.reads.Ready(now_us) >= account.spare_reads) return wait_us;
  return kTokenAgainUs;
}

void ApiClient::Impl::StartDue() {
  const int64_t now = MonotonicUs();
  size_t passed = 0;  // accounts without anything to start, in a row
  while (passed < accounts_.size() && places_.RoomForRead(now)) {
    const size_t account = next_account_;
    next_account_ = (next_account_ + 1) % accounts_.size();
    passed = StartRead(static_cast<int>(account), now) ? 0 : passed + 1;
  }
  for (size_t account = 0; account < accounts_.size() && places_.RoomForPurge();) {
    if (!StartPurge(static_cast<int>(account), now)) ++account;
  }
}

bool ApiClient::Impl::StartRead(int number, int64_t now_us) {
  Account& account = *accounts_[static_cast<size_t>(number)];
  Sent sent;
  sent.account = number;
  if (!account.probes.empty()) {
    if (!account.reads.TryTake(now_us)) return false;
    sent.ticket = account.probes.front();
    account.probes.pop_front();
    Start(std::move(sent), HttpRequest::Method::kGet, ProbeTarget());
    return true;
  }
  if (account.look_ups.Waiting()) {
    if (!account.reads.TryTake(now_us)) return false;
    sent.search = account.look_ups.TakeNext();
    sent.request = sent.search.request;
    const std::string target = sent.search.Target();
    Start(std::move(sent), HttpRequest::Method::kGet, target);
    return true;
  }
  if (!account.inquiries.empty() && InquiryWaitUs(account, now_us) <= 0 && account.reads.TryTake(now_us)) {
    static_cast<void>(account.inquiry_pace.TryTake(now_us));
    sent.request = account.inquiries.front().request;
    sent.ticket = account.inquiries.front().ticket;
    const std::string target = std::move(account.inquiries.front().target);
    account.inquiries.pop_front();
    Start(std::move(sent), HttpRequest::Method::kGet, target);
    return true;
  }
  return false;
}

/// Stands back behind everything else of its account.
bool ApiClient::Impl::StartPurge(int number, int64_t now_us) {
  Account& account = *accounts_[static_cast<size_t>(number)];
  if (account.purges.empty() || account.look_ups.Waiting() || !account.probes.empty()) return false;
  if (!MayPurge(account, now_us) || !account.writes.TryTake(now_us)) return false;
  Sent sent;
  sent.account = number;
  sent.request = Request::kPurge;
  sent.ticket = account.purges.front().ticket;
  std::string body = PurgeBody(account.purges.front().url);
  account.purges.pop_front();
  Start(std::move(sent), HttpRequest::Method::kPost, PurgeTarget(), std::move(body));
  return true;
}

void ApiClient::Impl::Start(Sent sent, HttpRequest::Method method, const std::string& target, std::string body) {
  const Account& account = *accounts_[static_cast<size_t>(sent.account)];
  HttpRequest request;
  request.id = ++last_request_;
  request.method = method;
  request.url = account.base.origin + account.base.path + target;
  request.body = std::move(body);
  request.plain_http = account.base.plain;
  request.headers = MakeHeaders(account.key, method);
  request.urgent = sent.is_delete();
  places_.Take(KindOf(sent));
  sent.sent_us = MonotonicUs();
  on_wire_.emplace(request.id, std::move(sent));
  http_.Start(std::move(request));
}

void ApiClient::Impl::Collect() {
  HttpReply reply;
  while (http_.NextReply(&reply)) {
    const auto found = on_wire_.find(reply.id);
    Sent sent = std::move(found->second);
    on_wire_.erase(found);
    places_.GiveBack(KindOf(sent));
    Account* account = accounts_[static_cast<size_t>(sent.account)].get();
    const int status = reply.transport == Transport::kComplete ? reply.status : 0;
    account->statistics.Add(sent.request, status, MonotonicUs() - sent.sent_us);
    AnswerReply(account, std::move(sent), reply, http_.proxy_secrets(), &answers_);
  }
}

ApiClient::ApiClient(const TransportOptions& options) : impl_(std::make_unique<Impl>(options)) {}
ApiClient::~ApiClient() = default;

int ApiClient::AddAccount(const AccountAccess& access) { return impl_->AddAccount(access); }
void ApiClient::Find(uint64_t ticket, int account, const LibraryPath& path, const std::string& known_id,
                     int most_together) {
  impl_->Find(ticket, account, path, known_id, most_together);
}
void ApiClient::ExpectMore(int account, bool more) { impl_->ExpectMore(account, more); }
void ApiClient::GiveBackLookUps(int account, int64_t longest_ms) { impl_->GiveBackLookUps(account, longest_ms); }
void ApiClient::GiveBackPurges(int account) { impl_->GiveBackPurges(account); }
int ApiClient::ReserveDeletes(int account, int most) { return impl_->ReserveDeletes(account, most); }
void ApiClient::ReturnDeletes(int account, int count) { impl_->ReturnDeletes(account, count); }
void ApiClient::Delete(int account, const std::vector<FileToDelete>& files) { impl_->Delete(account, files); }
int ApiClient::BulkSize(int account) const { return impl_->BulkSize(account); }
void ApiClient::Purge(uint64_t ticket, int account, const std::string& url) { impl_->Purge(ticket, account, url); }
void ApiClient::Probe(uint64_t ticket, int account) { impl_->Probe(ticket, account); }
void ApiClient::List(uint64_t ticket, int account, const std::string& target) {
  impl_->Inquire(account, {ticket, Request::kList, target});
}
void ApiClient::Usage(uint64_t ticket, int account, const std::string& from_day, const std::string& to_day) {
  impl_->Inquire(account, {ticket, Request::kUsage, UsageTarget(from_day, to_day)});
}
int64_t ApiClient::ClockOffsetMs(int account) const { return impl_->ClockOffsetMs(account); }
RequestStatistics ApiClient::TakeStatistics(int account) { return impl_->TakeStatistics(account); }
int ApiClient::DeleteWaitMs(int account) const { return impl_->DeleteWaitMs(account); }
bool ApiClient::Sending() const noexcept { return impl_->Sending(); }
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
