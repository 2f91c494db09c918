// Any bytes as an answer of the API: only ImageKit's own words settle a file, a file is found only at the path asked for
// and by an id that is one, and what is kept of an answer is clean text without the key.
//
// An input is an exchange in a form that a person can write:
//
//   find /pets/cat.jpg           or: delete, or: bulk (of the files "a", "b" and "c"), or: library /pets/cat.jpg, or:
//                                    purge
//   200
//   content-type: application/json
//   retry-after: 3
//
//   [{"type":"file",...}]
//   == next page ==
//   [...]

#include <json/json.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/api_deletes.h"
#include "core/api_reply.h"
#include "core/api_request.h"
#include "core/api_text.h"
#include "core/api_time.h"
#include "core/path_search.h"
#include "core/taxonomy.h"
#include "require.h"

namespace imagekit::fuzz {
namespace {

constexpr char kKey[] = "private_TestKey123=";
constexpr std::string_view kNextPage = "\n== next page ==\n";

struct Exchange {
  Request request = Request::kFolderSearch;
  LibraryPath wanted;
  int status = 0;
  std::string content_type;
  std::string rate_limit_reset;
  std::string retry_after;
  std::vector<std::string> pages;  // bodies; at least one
};

std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

Exchange Read(std::string_view text) {
  Exchange exchange;
  std::string_view line = TakeLine(&text);
  switch (line.empty() ? ' ' : line[0]) {
    case 'd':
      exchange.request = Request::kDelete;
      break;
    case 'b':
      exchange.request = Request::kBulkDelete;
      break;
    case 'l':
      exchange.request = Request::kLibrarySearch;
      break;
    case 'p':
      exchange.request = Request::kPurge;
      break;
    default:
      break;
  }
  line.remove_prefix(std::min(line.find('/'), line.size()));
  const size_t slash = std::min(line.rfind('/'), line.size());
  exchange.wanted.folder = slash == 0 ? "/" : std::string(line.substr(0, slash));
  exchange.wanted.name = std::string(line.substr(std::min(slash + 1, line.size())));
  for (const char c : TakeLine(&text).substr(0, 3)) exchange.status = exchange.status * 10 + (c - '0');
  while (!(line = TakeLine(&text)).empty()) {
    const size_t colon = std::min(line.find(": "), line.size());
    const std::string value(line.substr(std::min(colon + 2, line.size())));
    if (line.substr(0, colon) == "content-type") exchange.content_type = value;
    if (line.substr(0, colon) == "x-ratelimit-reset") exchange.rate_limit_reset = value;
    if (line.substr(0, colon) == "retry-after") exchange.retry_after = value;
  }
  for (size_t end; (end = text.find(kNextPage)) != std::string_view::npos;) {
    exchange.pages.emplace_back(text.substr(0, end));
    text.remove_prefix(end + kNextPage.size());
  }
  exchange.pages.emplace_back(text);
  return exchange;
}

bool IsOneLineOfText(std::string_view text) { return CleanText(text, text.size()) == text; }

/// Begins with `first` and ends in `last`, but for JSON's white space and a byte order mark.
bool Encloses(std::string_view body, char first, char last) {
  if (body.substr(0, 3) == "\xEF\xBB\xBF") body.remove_prefix(3);
  const size_t start = body.find_first_not_of(" \t\r\n");
  return start != std::string_view::npos && body[start] == first && body[body.find_last_not_of(" \t\r\n")] == last;
}

void CheckBody(const ReplyBody& body, const std::string& text) {
  const bool blank = text.find_first_not_of(" \t\r\n") == std::string::npos;
  switch (body.kind) {
    case BodyKind::kEmpty:
      Require(blank, "an empty body is empty", text);
      break;
    case BodyKind::kMessage:
      Require(Encloses(text, '{', '}') && text.find('"') != std::string::npos, "a message stands in an object", text);
      Require(!body.message.empty(), "a message has words", text);
      break;
    case BodyKind::kArray:
      Require(Encloses(text, '[', ']'), "a list is a list", text);
      break;
    case BodyKind::kJson:
      Require(Encloses(text, '{', '}'), "an object is an object", text);
      break;
    case BodyKind::kHtml:
      break;
    case BodyKind::kText:
      Require(!blank && body.message == text, "text is some, and all of it", text);
      break;
  }
  Require(body.files.size() <= body.entries, "no file without an entry", text);
  Require(body.kind == BodyKind::kArray || (body.entries == 0 && !body.well_shaped), "entries stand in a list", text);
  for (const FoundFile& file : body.files) {
    Require(IsOneLineOfText(file.url), "a url is clean text", text, file.url);
    Require(file.created_ms >= -1 && file.updated_ms >= -1, "a time or none", text);
  }
}

/// Section 4.1 and its neighbours once more, by hand and not from the table.
void CheckVerdict(const Exchange& exchange, const ReplyBody& body, Verdict verdict, const std::string& text) {
  const Request request = exchange.request;
  const bool finds = request == Request::kFolderSearch || request == Request::kLibrarySearch;
  const bool deletes = request == Request::kDelete || request == Request::kBulkDelete;
  const bool foreign = body.kind == BodyKind::kHtml || body.kind == BodyKind::kText;
  const bool object = body.kind == BodyKind::kMessage || body.kind == BodyKind::kJson;
  switch (verdict) {
    case Verdict::kFound:
      Require(finds && exchange.status == 200 && body.kind == BodyKind::kArray, "found only in a list", text);
      break;
    case Verdict::kNotFound:
      Require(request == Request::kFolderSearch && exchange.status == 404 && body.kind == BodyKind::kMessage,
              "absent in ImageKit's words", text);
      break;
    case Verdict::kGone:
      Require(deletes && exchange.status == 404 && body.kind == BodyKind::kMessage, "gone in ImageKit's words", text);
      break;
    case Verdict::kDeleted:
      if (request == Request::kBulkDelete) {
        Require((exchange.status == 200 || exchange.status == 207) && object, "deleted by an answer with lists", text);
      } else {
        Require(deletes && exchange.status == 204, "deleted when it says so", text);
      }
      break;
    case Verdict::kPurged:
      Require(request == Request::kPurge && exchange.status / 100 == 2 && object, "purged when it says so", text);
      break;
    case Verdict::kUndecided:
      Require(request == Request::kDelete && exchange.status == 200 && !foreign && body.kind != BodyKind::kMessage &&
                  body.kind != BodyKind::kArray,
              "undecided where nothing is said", text);
      break;
    case Verdict::kCredentials:
      Require(exchange.status == 401 || exchange.status == 403, "a key is refused by 401 and 403", text);
      break;
    case Verdict::kThrottled:
      Require(exchange.status == 429, "429 is too many", text);
      break;
    case Verdict::kElsewhere:
    case Verdict::kAmbiguous:
    case Verdict::kQuota:
      Require(false, "no status says so", text);
      break;
    case Verdict::kRejected:
      Require(exchange.status >= 400 && exchange.status < 500 &&
                  (!foreign || exchange.status == 414 || exchange.status == 400),
              "refused by a status that says so", text);
      break;
    case Verdict::kTransient:
    case Verdict::kBroken:
      break;
  }
}

/// How many entries of a page claim the path, read anew; `id` is the last one's.
int ClaimsOf(const std::string& page, const std::string& path, std::string* id) {
  Json::Value root;
  std::string errors;
  const std::unique_ptr<Json::CharReader> reader(Json::CharReaderBuilder().newCharReader());
  if (!reader->parse(page.data(), page.data() + page.size(), &root, &errors) || !root.isArray()) return 0;
  int claims = 0;
  for (const Json::Value& entry : root) {
    if (!entry.isObject() || entry["type"] != "file" || entry["filePath"] != path) continue;
    ++claims;
    if (entry["fileId"].isString()) *id = entry["fileId"].asString();
  }
  return claims;
}

void CheckSearch(const Exchange& exchange, std::string_view input) {
  const std::string path = exchange.wanted.FilePath();
  PathSearch search(exchange.wanted, CanBeQuoted(exchange.wanted.name));
  size_t read = 0;
  bool settled = false;
  while (!settled && read < exchange.pages.size()) {
    const ReplyBody body = ReadBody(exchange.pages[read++], exchange.content_type);
    if (body.kind != BodyKind::kArray) return;
    settled = search.ReadPage(body);
    Require(search.next_skip() <= 2 * input.size(), "no more is skipped than was listed", input);
  }
  if (!settled) {
    search.Conclude();
    const Verdict verdict = search.targets()[0].verdict;
    Require(verdict != Verdict::kFound && verdict != Verdict::kBroken, "silence finds nothing", input);
    std::string id;
    for (const std::string& page : exchange.pages) {
      Require(ClaimsOf(page, path, &id) == 0, "what is listed is not absent", input, path);
    }
  }
  const PathSearch::Target& target = search.targets()[0];
  Require((target.verdict == Verdict::kFound) == target.words.empty(), "words unless found", input, target.words);
  if (target.verdict != Verdict::kFound) return;

  std::string id;
  Require(ClaimsOf(exchange.pages[read - 1], path, &id) == 1, "one entry claims the path", input, path);
  Require(target.file.file_path == path && target.file.name == exchange.wanted.name, "found where it was asked for",
          input, target.file.file_path);
  Require(target.file.file_id == id, "the id is that of the entry", input, target.file.file_id);
  const bool letters = std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
  });
  Require(!id.empty() && id.size() <= 255 && letters, "an id is an id", input, id);
}

/// Whether a list of an object names an id, read anew. `member`: of the entries, when they are objects.
bool Names(const Json::Value& root, const char* list, const char* member, const std::string& id) {
  if (!root.isObject() || !root[list].isArray()) return false;
  return std::any_of(root[list].begin(), root[list].end(), [&](const Json::Value& entry) {
    if (member == nullptr) return entry == id;
    return entry.isObject() && entry[member] == id;
  });
}

/// Each file of a bulk delete: only what ImageKit names as deleted is, only what it names as missing is gone.
void CheckBulk(const Exchange& exchange, const ReplyBody& body, Verdict verdict, std::string_view input) {
  Deletion deletion;
  for (const char* id : {"a", "b", "c"}) deletion.Add({0, id});
  int bulk_size = 3;
  const std::vector<FileVerdict> verdicts = deletion.Judge(verdict, body, "words", &bulk_size);
  Require(verdicts.size() == 3, "each file is answered", input);
  Require(bulk_size >= 1 && bulk_size <= 3, "a bulk has one file at least, and never more than before", input);
  Json::Value root;
  std::string errors;
  const std::string& page = exchange.pages[0];
  const std::unique_ptr<Json::CharReader> reader(Json::CharReaderBuilder().newCharReader());
  if (!reader->parse(page.data(), page.data() + page.size(), &root, &errors)) root = Json::Value();
  for (size_t i = 0; i < verdicts.size(); ++i) {
    const std::string& id = deletion.file_ids()[i];
    const Verdict one = verdicts[i].verdict;
    const bool deleted = Names(root, "successfullyDeletedFileIds", nullptr, id);
    const bool failed = Names(root, "errors", "fileId", id);
    Require(one != Verdict::kDeleted || (deleted && !failed && exchange.status / 100 == 2), "deleted by name", input,
            id);
    Require(one != Verdict::kGone || (Names(root, "missingFileIds", nullptr, id) && exchange.status == 404),
            "missing by name", input, id);
    Require(one != Verdict::kRejected, "one answer parks no file among several", input, id);
    Require(one == Verdict::kUndecided || !verdicts[i].alone, "alone when undecided", input, id);
    Require(one == Verdict::kUndecided || verdict == Verdict::kDeleted || one == verdict, "or the request's", input,
            id);
  }
}

void CheckWords(const ReplyBody& body, std::string_view input) {
  const std::string words = CleanText(HideSecrets(body.message, SecretsOf(kKey)), kMaxDetailBytes);
  Require(IsUtf8(words) && IsOneLineOfText(words) && words.size() <= kMaxDetailBytes, "words are one line", input,
          words);
  for (const std::string_view secret : {"private_TestKey123", "cHJpdmF0ZV9UZXN0S2V5MTIzPTo"}) {
    Require(words.find(secret) == std::string::npos, "no key in the words", input, words);
  }
}

}  // namespace
}  // namespace imagekit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagekit;
  using namespace imagekit::fuzz;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Exchange exchange = fuzz::Read(input);
  const ReplyBody body = ReadBody(exchange.pages[0], exchange.content_type);
  CheckBody(body, exchange.pages[0]);
  CheckWords(body, input);

  const Verdict verdict = JudgeAnswer(exchange.request, exchange.status, body.kind);
  CheckVerdict(exchange, body, verdict, exchange.pages[0]);
  Require(VerdictName(verdict) != std::string_view("unknown"), "each verdict has a name", input);
  if (verdict == Verdict::kFound) CheckSearch(exchange, input);
  if (exchange.request == Request::kBulkDelete) CheckBulk(exchange, body, verdict, input);
  const Verdict purge = JudgePurge(verdict, body.message, false);
  Require(purge == verdict || purge == Verdict::kQuota, "a quota or what it was", input);
  const int64_t wait = RetryAfterMs(exchange.rate_limit_reset, exchange.retry_after, 1792000000000);
  Require(wait >= 1000 && wait <= 900000, "a wait is one second to 15 minutes", input);
  return 0;
}
