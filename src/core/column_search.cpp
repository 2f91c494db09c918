// ColumnSearch: mentions, beside what UrlScanner and EndpointMap make of the same text; and names of files.

#include "core/column_search.h"

#include <algorithm>

#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// A first look: only where one of these stands can LooksLikeImageKit() say yes.
bool MayLookLikeImageKit(std::string_view text) noexcept {
  for (size_t at = 0; (at = text.find("tr", at)) != std::string_view::npos; at += 2)
    if (at + 2 < text.size() && (text[at + 2] == ':' || text[at + 2] == '=')) return true;
  for (const char* word : {"ik-sdk", ".imagekit.io", ".imgkit.net"})
    if (text.find(word) != std::string_view::npos) return true;
  return false;
}

/// As much of the text as may be one URL.
std::string_view Example(std::string_view text) noexcept {
  text = text.substr(0, kMaxExample);
  return text.substr(0, static_cast<size_t>(std::find_if(text.begin(), text.end(), NeverInUrl) - text.begin()));
}

void Show(ColumnFinding* finding, std::string_view example, const JsonStrings* where) {
  finding->example = example;
  finding->place = where == nullptr ? std::string() : FormatJsonPath(where->path());
  if (where != nullptr && where->is_key()) finding->place += " (the key itself)";
}

}  // namespace

bool KnownPrefixes::Add(int account, std::string_view prefix) {
  try {
    endpoints.Add(account, prefix);
  } catch (const EndpointError&) {
    return false;
  }
  mentions.Add(account, prefix);
  return true;
}

bool ColumnSearch::HasUrl(std::string_view text) const noexcept {
  Mention mention;
  return MentionScanner(known_.mentions, text).Next(&mention) || MayLookLikeImageKit(text);
}

bool ColumnSearch::Names(std::string_view text) const {
  return known_.files != nullptr && known_.files->Find(text) != kNoAccount;
}

bool ColumnSearch::Any(std::string_view text) const { return HasUrl(text) || Names(text); }

void ColumnSearch::LookAtText(std::string_view text) {
  TakeName(text, nullptr);
  if (!HasUrl(text)) return;
  const bool whole = std::any_of(watched_.begin(), watched_.end(), [](const JsonPath& path) { return path.empty(); });
  Look(text, whole, true, nullptr);
}

void ColumnSearch::LookAtJson(std::string_view json) {
  // Names do not show in the document as a whole.
  if (known_.files == nullptr && !HasUrl(json)) return;
  JsonStrings strings(json);
  while (strings.Next()) {
    TakeName(strings.value(), &strings);
    if (!HasUrl(strings.value())) continue;
    const bool watched =
        std::any_of(watched_.begin(), watched_.end(), [&](const JsonPath& path) { return strings.IsUnder(path); });
    Look(strings.value(), watched && !strings.is_key(), !strings.is_key(), &strings);
  }
  if (strings.failed()) LookAtPrinted(json);
}

void ColumnSearch::LookAtPrinted(std::string_view text) {
  TakeName(text, nullptr);
  if (HasUrl(text)) Look(text, false, false, nullptr);
}

/// `watched`: it stands where a source sees it; `readable`: one could.
void ColumnSearch::Look(std::string_view text, bool watched, bool readable, const JsonStrings* where) {
  MentionScanner mentions(known_.mentions, text);
  Mention mention = {};
  bool more = mentions.Next(&mention);
  // A mention is seen if it is the beginning of a URL that is an account's; what stands within another URL is not.
  const auto unseen_before = [&](size_t end) {
    for (; more && mention.at < end; more = mentions.Next(&mention))
      Take(mention.account, false, false, text.substr(mention.at), where);
  };
  UrlScanner urls(text);
  std::string_view url;
  while (urls.Next(&url)) {
    UrlParts parts;
    if (!SplitUrl(url, &parts)) continue;
    const auto host = static_cast<size_t>(parts.host.data() - text.data());
    const bool owned = known_.endpoints.Owns(url);
    unseen_before(host);
    const bool mentioned = more && mention.at == host;
    if (owned) {
      int account;
      std::string_view path;
      // The mention's account may be another's whose prefix differs in case, or in its port.
      if (!known_.endpoints.ReadPlain(url, &account, &path)) account = known_.endpoints.Read(url).account;
      Take(account, watched, readable, url, where);
      if (mentioned) more = mentions.Next(&mention);
    } else if (!mentioned && LooksLikeImageKit(url)) {
      Take(kNoAccount, false, false, url, where);
    }
    unseen_before(static_cast<size_t>(url.data() - text.data()) + url.size());
  }
  unseen_before(text.size());
}

ColumnFinding* ColumnSearch::Of(int account) {
  for (ColumnFinding& finding : findings_)
    if (finding.account == account) return &finding;
  findings_.emplace_back().account = account;
  row_.push_back(InRow{});
  return &findings_.back();
}

void ColumnSearch::Take(int account, bool seen, bool readable, std::string_view example, const JsonStrings* where) {
  ColumnFinding& finding = *Of(account);
  InRow& row = row_[static_cast<size_t>(&finding - findings_.data())];
  const bool better = finding.example.empty() || (!readable && finding.unreadable == 0 && !row.unreadable) ||
                      (!seen && finding.unseen == 0 && !row.unseen);
  if (better) Show(&finding, Example(example), where);
  row.any = true;
  row.unseen |= !seen;
  row.unreadable |= !readable;
}

void ColumnSearch::TakeName(std::string_view text, const JsonStrings* where) {
  const int account = known_.files == nullptr ? kNoAccount : known_.files->Find(text);
  if (account == kNoAccount) return;
  ColumnFinding& finding = *Of(account);
  InRow& row = row_[static_cast<size_t>(&finding - findings_.data())];
  if (finding.unseen == 0 && !row.unseen && finding.named == 0 && !row.named)
    Show(&finding, text.substr(0, kMaxExample), where);
  row.named = true;
}

void ColumnSearch::EndRow() {
  for (size_t i = 0; i < row_.size(); ++i) {
    findings_[i].rows += row_[i].any;
    findings_[i].unseen += row_[i].unseen;
    findings_[i].unreadable += row_[i].unreadable;
    findings_[i].named += row_[i].named;
    row_[i] = InRow{};
  }
}

}  // namespace imagekit
