// Any bytes as a column's value: whatever capture's scanner finds of an account is found by the search for unwatched columns, as
// seen where the column is watched and as unseen where it is not, however the text is wrapped; and what is found lies in the text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/column_search.h"
#include "endpoints.h"
#include "require.h"

namespace imagekit::fuzz {
namespace {

const KnownPrefixes& Known() {
  static const KnownPrefixes* known = [] {
    auto* all = new KnownPrefixes;
    for (const Prefix& prefix : kPrefixes) (void)all->Add(prefix.account, prefix.Text());
    return all;
  }();
  return *known;
}

struct Sum {
  int64_t rows = 0, unseen = 0, unreadable = 0;
};

Sum Of(const ColumnSearch& search, int account) {
  Sum sum;
  for (const ColumnFinding& finding : search.findings()) {
    Require(finding.rows == 1 && finding.unseen <= 1 && finding.unreadable <= finding.unseen, "counts are of rows",
            finding.example);
    Require(finding.example.size() <= kMaxExample, "an example is short", finding.example);
    if (finding.account == account) sum = {finding.rows, finding.unseen, finding.unreadable};
  }
  return sum;
}

/// Mentions lie in the text, in order.
void CheckMentions(std::string_view text) {
  MentionScanner scanner(Known().mentions, text);
  Mention mention = {};
  size_t end = 0;
  while (scanner.Next(&mention)) {
    Require(mention.at >= end && mention.end > mention.at && mention.end <= text.size(), "in the text, in order", text);
    end = mention.end;
  }
}

void CheckFound(std::string_view text, std::string_view url) {
  const int account = Known().endpoints.Read(url).account;
  ColumnSearch watched(Known()), unwatched(Known());
  watched.Watch({});
  watched.LookAtText(text);
  watched.EndRow();
  unwatched.LookAtText(text);
  unwatched.EndRow();
  Require(Of(watched, account).rows == 1, "a URL is found where the column is watched", text, url);
  Require(Of(unwatched, account).unseen == 1, "and is unseen where it is not", text, url);
  Require(Of(watched, account).unseen == Of(watched, account).unreadable,
          "what is watched is unseen if it cannot be read", text);
}

/// As the string of a document, which is the same text.
void CheckJson(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string json = "{\"k\": [\"";
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return;
    json += {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
  }
  json += "\"]}";
  JsonStrings strings(json);
  Require(strings.Next() && strings.is_key() && strings.value() == "k", "the key", json);
  Require(strings.Next() && !strings.is_key(), "the string", json);
  Require(text.find('\0') != std::string_view::npos || strings.value() == text, "unescaped", json, strings.value());
  Require(strings.IsUnder({{false, "k"}, {true, ""}}) && !strings.IsUnder({{false, "x"}}), "with its path", json);
  Require(!strings.Next() && !strings.failed(), "and nothing else", json);
}

}  // namespace
}  // namespace imagekit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagekit;
  using namespace imagekit::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckMentions(text);
  UrlScanner scanner(text);
  std::string_view url;
  bool any = false;
  while (scanner.Next(&url)) {
    if (!Known().endpoints.Owns(url)) continue;
    CheckFound(text, url);
    // The host it begins with is a mention, also without the scanner.
    Require(any || ColumnSearch(Known()).Any(text), "there is a mention", text, url);
    any = true;
  }
  CheckJson(text);
  JsonStrings strings(text);  // any bytes
  while (strings.Next()) (void)FormatJsonPath(strings.path());
  return 0;
}
