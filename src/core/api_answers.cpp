// One verdict on the whole reply (taxonomy.h), then one on each file (path_search.h, api_deletes.h).
//
// It must never let a key or a proxy's password into an answer's words, and must answer each ticket of a request exactly
// once or queue it again.

#include "core/api_answers.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/api_reply.h"
#include "core/api_request.h"
#include "core/api_time.h"
#include "core/api_words.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

Operation OperationOf(Request request) noexcept {
  switch (request) {
    case Request::kProbe:
      return Operation::kProbe;
    case Request::kDelete:
    case Request::kBulkDelete:
      return Operation::kDelete;
    case Request::kPurge:
      return Operation::kPurge;
    case Request::kList:
      return Operation::kList;
    case Request::kUsage:
      return Operation::kUsage;
    case Request::kFolderSearch:
    case Request::kLibrarySearch:
    case Request::kIdSearch:
      break;
  }
  return Operation::kFind;
}

Verdict Judge(Request request, const HttpReply& reply, const ReplyBody& body) {
  if (reply.transport != Transport::kComplete) return JudgeFailure(reply.transport);
  const Verdict verdict = JudgeAnswer(request, reply.status, body.kind);
  if (request != Request::kPurge) return verdict;
  return JudgePurge(verdict, body.message, NamesAWait(reply.rate_limit_reset, reply.retry_after));
}

/// Nothing of this class goes before the time that ImageKit has named, from whomever shares the account's pace.
void Throttle(Account* account, const Sent& sent, int64_t wait_ms) {
  const int64_t until = MonotonicUs() + wait_ms * 1000;
  if (sent.request == Request::kPurge) {
    // Purges have a budget of their own (section 6.4): what they are refused for need not hold up a delete.
    account->purge_pause.PauseUntil(until);
  } else if (sent.is_delete()) {
    account->writes.PauseUntil(until);
  } else {
    account->reads.PauseUntil(until);
  }
}

/// Writes answers that have much in common.
class AnswerWriter {
 public:
  AnswerWriter(const Answer& common, const DetailWriter& detail, std::deque<Answer>* answers)
      : common_(common), detail_(detail), answers_(answers) {}

  Answer* Give(uint64_t ticket, Verdict verdict, const std::string& words) {
    answers_->push_back(common_);
    Answer* answer = &answers_->back();
    answer->ticket = ticket;
    answer->verdict = verdict;
    answer->detail = detail_.Write(words);
    return answer;
  }

 private:
  const Answer& common_;
  const DetailWriter& detail_;
  std::deque<Answer>* answers_;
};

void AnswerProbe(const Sent& sent, Verdict verdict, const ReplyBody& body, const std::string& words,
                 AnswerWriter* writer) {
  FoundFile file;
  const Verdict read = verdict == Verdict::kFound ? ReadProbe(body, &file) : verdict;
  const bool misshapen = read != verdict && read == Verdict::kBroken;
  writer->Give(sent.ticket, read, misshapen ? "an entry of the list is not shaped like ImageKit's" : words)->file =
      std::move(file);
}

}  // namespace

void AnswerReply(Account* account, Sent sent, const HttpReply& reply, const std::vector<SecretText>& proxy_secrets,
                 std::deque<Answer>* answers) {
  ReplyBody body;
  if (reply.transport == Transport::kComplete) body = ReadBody(reply.body, reply.content_type);
  const Verdict verdict = Judge(sent.request, reply, body);
  // Somebody else's answer shows somebody else's clock.
  const int64_t date = verdict == Verdict::kBroken ? -1 : ParseHttpDate(reply.date);
  if (date > 0) account->clock.Add(date, reply.date_seen_ms);

  Answer common;
  common.operation = OperationOf(sent.request);
  common.http_status = reply.status;
  if (verdict == Verdict::kThrottled) {
    common.retry_after_ms = RetryAfterMs(reply.rate_limit_reset, reply.retry_after, UnixMs());
    Throttle(account, sent, common.retry_after_ms);
  } else if (verdict == Verdict::kTransient && NamesAWait("", reply.retry_after)) {
    // RFC 9110, 15.6.4: a server that is being worked on says until when. The attempt counts all the same.
    Throttle(account, sent, RetryAfterMs("", reply.retry_after, UnixMs()));
  }
  std::vector<SecretText> secrets = SecretsOf(View(account->key.Reveal()));
  secrets.insert(secrets.end(), proxy_secrets.begin(), proxy_secrets.end());
  const DetailWriter detail(reply, secrets);
  AnswerWriter writer(common, detail, answers);
  const std::string words = detail.Shorten(WordsOf(reply, body, verdict));

  switch (sent.request) {
    case Request::kFolderSearch:
    case Request::kLibrarySearch:
    case Request::kIdSearch: {
      common.shared_by = static_cast<int>(sent.search.files.size());
      std::vector<LookUpAnswer> found;
      account->look_ups.TakeAnswer(std::move(sent.search), verdict, std::move(body), words, &found);
      for (LookUpAnswer& one : found) writer.Give(one.ticket, one.verdict, one.words)->file = std::move(one.file);
      break;
    }
    case Request::kProbe:
      AnswerProbe(sent, verdict, body, words, &writer);
      break;
    case Request::kDelete:
    case Request::kBulkDelete: {
      const std::vector<FileToDelete>& files = sent.deletion.files();
      common.shared_by = static_cast<int>(files.size());
      const std::vector<FileVerdict> verdicts = sent.deletion.Judge(verdict, body, words, &account->bulk_size);
      for (size_t i = 0; i < files.size(); ++i) {
        writer.Give(files[i].ticket, verdicts[i].verdict, verdicts[i].words)->alone = verdicts[i].alone;
      }
      break;
    }
    case Request::kPurge:
      writer.Give(sent.ticket, verdict, words);
      break;
    case Request::kList: {
      Answer* answer = writer.Give(sent.ticket, verdict, words);
      if (verdict == Verdict::kFound) answer->page = std::make_shared<const ReplyBody>(std::move(body));
      break;
    }
    case Request::kUsage:
      writer.Give(sent.ticket, verdict, words)->usage = body.usage;
      break;
  }
}

}  // namespace imagekit
