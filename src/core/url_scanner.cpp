// UrlScanner: the URLs in the text of a column.
//
// It must never cut a URL short so that it names another file, and never let one of our URLs disappear in a longer
// piece of text that is not ours: the first could delete the wrong file, the second could miss that a file is used.
// Nothing here looks at what a URL means; a piece of text that is no clean URL is yielded as it is, and Read() refuses
// it. Every byte is looked at a bounded number of times, because a text can be megabytes long.
//
// Rule 1. A text that begins with a URL (white space aside) is taken for a URL or a list of them, never for prose. It
//   is one run. A column named "image" holds URLs with unescaped spaces more often than a URL followed by prose, and cut
//   at the space "…/my cat.jpg" would name the file "…/my".
//
// Rule 2. In any other text a URL begins at "http://" or "https://" in any case. "//" alone begins one only directly
//   after a quote, "(" or "=": elsewhere it is a comment or a double slash in a path. Its end depends on what stands
//   before it, because only the same writer knows how the URL was closed:
//     "  '  `     up to the same quote; white space inside stays (rule 1's reason). A run.
//     <           up to ">", as in Markdown's <…>. A run.
//     (           up to the parenthesis that balances it, or white space: Markdown writes (URL "title")
//     &quot; ...  up to the same entity: JSON in an HTML attribute. A run.
//     ]           up to "[", as in [img]URL[/img]
//     |           up to "|", as in a table
//     otherwise   up to white space
//   and outside a run always up to a character that no URL holds. From an end that nobody wrote down, punctuation that
//   belongs to the sentence is taken off: ".,;:!?", a closing bracket whose opening one is outside the URL, and the
//   mark of emphasis that also stands before it ("**URL**"). White space is no end where the name so far has no extension, and
//   one of the next words has: cut there, "see …/my cat.jpg" would name the file "…/my". Read() refuses the longer text.
//
// Rule 3. Within a run, the next URL begins
//     after ",", ";" or "|":  a list without spaces. Read() refuses a URL that holds such text: what is one library
//                             file's URL is never split.
//     after white space, or anywhere behind any other character that no URL holds, or that ends words beyond ASCII ("。"):
//                             what was cut is not clean or it is the item of a list, and the rest must not be lost behind it.
//   A "https://" anywhere else belongs to the URL it stands in: a web proxy URL holds a second one.
//   The comma between two items is taken off, and between quotes also a srcset's "300w" or "2x", when a comma follows
//   it or the attribute is a srcset. Nothing else is: "…/photo 2x" in a JSON text is one URL with a space.
//
// HTML entities ("&amp;") and JSON escapes ("\u0026") stay as they are: the scanner cannot know which language it
// reads.

#include <algorithm>

#include "core/bytes.h"
#include "core/url.h"
#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr bool IsListSeparator(char c) noexcept { return c == ',' || c == ';' || c == '|'; }

/// The characters behind which another URL may begin; those beyond ASCII are looked at more closely.
struct Boundaries {
  bool is[256] = {};
  constexpr Boundaries() noexcept {
    for (int c = 0; c < 256; ++c)
      is[c] = c >= 0x80 || NeverInUrl(static_cast<char>(c)) || IsListSeparator(static_cast<char>(c));
  }
};
constexpr Boundaries kBoundaries;

BlockMask BoundariesIn(Block c) noexcept {
  return (c <= ' ') | (c >= 0x7f) | (c == '"') | (c == '<') | (c == '>') | (c == '`') | (c == ',') | (c == ';') |
         (c == '|');
}

/// The first place from `at` on, or `end`, that has a boundary directly before it.
size_t SkipPlain(std::string_view text, size_t at, size_t end) noexcept {
  while (end - at >= kBlockSize && !Any(BoundariesIn(LoadBlock(text.data() + at - 1)))) at += kBlockSize;
  while (at < end && !kBoundaries.is[static_cast<unsigned char>(text[at - 1])]) ++at;
  return at;
}

std::string_view Trim(std::string_view text) noexcept {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

/// Backslashes directly before `at`: how deep the quote there is escaped in a JSON text.
size_t BackslashesBefore(std::string_view text, size_t at) noexcept {
  size_t count = 0;
  while (count < at && text[at - count - 1] == '\\') ++count;
  return count;
}

/// An apostrophe may stand in a URL unescaped ("it's.jpg"). It closes a quotation only where no name could go on.
bool IsApostrophe(std::string_view text, size_t at) noexcept {
  if (at + 1 >= text.size()) return false;
  const char next = text[at + 1];
  const char after = at + 2 < text.size() ? text[at + 2] : ' ';
  if (next == '.') return IsAlnum(after);
  if (next == '/') return after != '>';  // "/>" closes an HTML tag
  return IsAlnum(next) || next == '%' || next == '_' || next == '-' || static_cast<unsigned char>(next) >= 0x80;
}

/// Where the text opened by `quote` at `opener` ends; the end of the text when it is never closed.
size_t EndOfQuotation(std::string_view text, size_t opener, char quote) noexcept {
  // In `"{\"url\":\"https://…\"}"` the URL is closed by a quote escaped as deeply as the one that opened it. A quote
  // that is escaped where the opening one was not belongs to the value.
  const size_t depth = BackslashesBefore(text, opener);
  for (size_t at = text.find(quote, opener + 1); at != std::string_view::npos; at = text.find(quote, at + 1)) {
    const size_t escapes = BackslashesBefore(text, at);
    if (depth == 0 ? escapes % 2 == 1 : escapes > depth) continue;
    if (quote == '\'' && IsApostrophe(text, at)) continue;
    return depth == 0 ? at : at - escapes;
  }
  return text.size();
}

/// The HTML entity that ends directly before `at` ("&quot;"), or an empty view.
std::string_view EntityBefore(std::string_view text, size_t at) noexcept {
  constexpr size_t kLongest = 8;
  if (at == 0 || text[at - 1] != ';') return {};
  size_t start = at - 1;
  while (start > 0 && at - start < kLongest && (IsAlnum(text[start - 1]) || text[start - 1] == '#')) --start;
  const bool entity = start > 0 && start < at - 1 && text[start - 1] == '&';
  return entity ? text.substr(start - 1, at - start + 1) : std::string_view();
}

/// The entities that quote, and what closes each.
struct EntityPair {
  std::string_view open;
  std::string_view close;
};
constexpr EntityPair kEntityPairs[] = {
    {"&quot;", "&quot;"}, {"&#34;", "&#34;"},   {"&#x22;", "&#x22;"}, {"&apos;", "&apos;"},
    {"&#39;", "&#39;"},   {"&#039;", "&#039;"}, {"&#x27;", "&#x27;"}, {"&lt;", "&gt;"},
};

/// Where the text opened by the entity `opener` ends; npos when that is no quote or nothing closes it. What closes a
/// kind of quote nowhere after one place closes it nowhere after a later one: `*unclosed` remembers the kinds, a bit
/// each, so that the rest of the text is searched in vain once only.
size_t EndOfEntityQuotation(std::string_view text, size_t start, std::string_view opener, unsigned* unclosed) noexcept {
  unsigned bit = 1;
  for (const EntityPair& pair : kEntityPairs) {
    if (opener == pair.open && (*unclosed & bit) == 0) {
      const size_t end = text.find(pair.close, start);
      if (end == std::string_view::npos) *unclosed |= bit;
      return end;
    }
    bit <<= 1;
  }
  return std::string_view::npos;
}

/// "cat.jpg", also with punctuation behind it.
bool EndsInExtension(std::string_view word) noexcept {
  while (!word.empty() && IsClosingPunctuation(word.back())) word.remove_suffix(1);
  return ExtensionStart(word) > 1;
}

/// Where a file name that was begun by a URL, and has a space at `at`, may end: behind the first of the next words that has an
/// extension. `at` when the URL is whole without, or none of some words has one.
size_t EndOfSpacedName(std::string_view text, size_t start, size_t at) noexcept {
  const std::string_view url = text.substr(start, at - start);
  const size_t slash = url.find_last_of("/?#");
  if (slash == std::string_view::npos || url[slash] != '/' || slash < SchemeOrRelativeSize(url)) return at;
  if (EndsInExtension(url.substr(slash + 1))) return at;
  constexpr int kMostWords = 4;
  size_t end = at;
  for (int words = 0; words < kMostWords && end < text.size() && text[end] == ' '; ++words) {
    const size_t word = ++end;
    while (end < text.size() && !NeverInUrl(text[end])) ++end;
    const std::string_view taken = text.substr(word, end - word);
    if (taken.find("//") != std::string_view::npos) return at;  // another URL
    if (EndsInExtension(taken)) return end;
  }
  return at;
}

/// Where a URL that begins at `start` and is not quoted ends at the latest. `opener` stands before it.
size_t EndOfBareText(std::string_view text, size_t start, char opener) noexcept {
  const char stop = opener == ']' ? '[' : opener == '|' ? '|' : ' ';
  size_t open_parentheses = 0;
  size_t at = start;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == ' ') {
      const size_t end = EndOfSpacedName(text, start, at);
      if (end == at) break;
      at = end - 1;
      continue;
    }
    if (NeverInUrl(c) || c == stop || (c == '\'' && !IsApostrophe(text, at))) break;
    if (opener != '(') continue;
    if (c == '(') ++open_parentheses;
    if (c == ')' && open_parentheses-- == 0) return at;
  }
  // The backslashes escape the quote in a JSON text: "\"see https://…\"".
  const bool at_quote = at < text.size() && (text[at] == '"' || text[at] == '\'');
  return at_quote ? at - std::min(BackslashesBefore(text, at), at - start) : at;
}

/// Takes the sentence's punctuation off the end of a URL. `opener` stands before the URL.
std::string_view WithoutPunctuation(std::string_view url, char opener) noexcept {
  struct Bracket {
    char open;
    char close;
    size_t unbalanced;
  };
  Bracket brackets[] = {{'(', ')', 0}, {'[', ']', 0}, {'{', '}', 0}};
  for (Bracket& bracket : brackets) {
    const auto open = static_cast<size_t>(std::count(url.begin(), url.end(), bracket.open));
    const auto close = static_cast<size_t>(std::count(url.begin(), url.end(), bracket.close));
    bracket.unbalanced = close > open ? close - open : 0;
  }
  const bool emphasis = opener == '*' || opener == '_' || opener == '~';

  const size_t scheme = SchemeOrRelativeSize(url);
  while (url.size() > scheme) {
    const char last = url.back();
    // Half an entity would look like a part of the name.
    if (!EntityBefore(url, url.size()).empty()) break;
    bool take = (emphasis && last == opener) || std::string_view(".,;:!?").find(last) != std::string_view::npos;
    for (Bracket& bracket : brackets) {
      if (last != bracket.close || bracket.unbalanced == 0) continue;
      --bracket.unbalanced;
      take = true;
    }
    if (!take) break;
    url.remove_suffix(1);
  }
  return url;
}

/// "https://… 300w" and "https://… 1.5x" without their descriptor.
std::string_view WithoutDescriptor(std::string_view url) noexcept {
  std::string_view rest = url;
  const char unit = rest.back();
  if (unit != 'w' && unit != 'x' && unit != 'h') return url;
  rest.remove_suffix(1);
  const size_t number = rest.find_last_not_of("0123456789.");
  if (number == std::string_view::npos || number + 1 == rest.size() || !IsSpace(rest[number])) return url;
  return Trim(rest.substr(0, number));
}

/// True when the quote at `opener` begins the value of srcset=, data-srcset=, imagesrcset=, ...
bool OpensSrcset(std::string_view text, size_t opener) noexcept {
  opener -= BackslashesBefore(text, opener);
  constexpr std::string_view kName = "srcset=";
  return opener >= kName.size() && std::equal(kName.begin(), kName.end(), text.begin() + (opener - kName.size()),
                                              [](char a, char b) { return a == Lower(b); });
}

}  // namespace

UrlScanner::UrlScanner(std::string_view text) noexcept : text_(Trim(text)) {
  if (SchemeOrRelativeSize(text_) > 0) run_end_ = text_.size();
}

bool UrlScanner::Next(std::string_view* url) noexcept {
  if (position_ >= run_end_) {
    while (position_ < text_.size() && !StartsHere(position_)) ++position_;
    if (position_ >= text_.size()) return false;
    Open(position_);
  }
  *url = TakeFromRun();
  return true;
}

bool UrlScanner::StartsHere(size_t at) const noexcept {
  if (Lower(text_[at]) == 'h') return SchemeSize(text_.substr(at)) > 0;
  const bool after_opener = at > 0 && std::string_view("\"'`(=").find(text_[at - 1]) != std::string_view::npos;
  return after_opener && SchemeOrRelativeSize(text_.substr(at)) > 0;
}

/// Rule 2: opens the run that begins at `start`.
void UrlScanner::Open(size_t start) noexcept {
  const char opener = start > 0 ? text_[start - 1] : ' ';
  list_ = false;
  srcset_ = false;
  quoted_ = opener == '"' || opener == '\'';
  if (quoted_) {
    run_end_ = EndOfQuotation(text_, start - 1, opener);
    srcset_ = OpensSrcset(text_, start - 1);
  } else if (opener == '<' || opener == '`') {
    run_end_ = std::min(text_.find(opener == '<' ? '>' : '`', start), text_.size());
  } else if (const size_t end = EndOfEntityQuotation(text_, start, EntityBefore(text_, start), &unclosed_);
             end != std::string_view::npos) {
    run_end_ = end;
  } else {
    const size_t bare_end = EndOfBareText(text_, start, opener);
    const bool closed = opener == '(' && bare_end < text_.size() && text_[bare_end] == ')';
    const std::string_view bare = text_.substr(start, bare_end - start);
    run_end_ = start + (closed ? bare : WithoutPunctuation(bare, opener)).size();
  }
}

/// Rule 3: the URL at position_, which becomes the start of the next one or the end of the run.
std::string_view UrlScanner::TakeFromRun() noexcept {
  const size_t start = position_;
  size_t at = start + SchemeOrRelativeSize(text_.substr(start));
  for (bool clean = true; at < run_end_; ++at) {
    // Nearly all of nearly every URL: nothing can begin behind these, so they are passed over by a table.
    if (clean) at = SkipPlain(text_, at, run_end_);
    if (at == run_end_) break;
    const char before = text_[at - 1];
    clean = clean && !NeverInUrl(before) && SeparatorBefore(text_, at) == 0;
    const std::string_view rest = text_.substr(at, run_end_ - at);
    if ((!clean || IsListSeparator(before)) && SchemeSize(rest) > 0) break;
    if (IsSpace(before) && SchemeOrRelativeSize(rest) > 0) break;
  }
  position_ = at;
  list_ = list_ || at < run_end_;

  std::string_view url = Trim(text_.substr(start, at - start));
  bool separated = false;
  if (list_ && IsListSeparator(url.back()) && EntityBefore(url, url.size()).empty()) {
    url = Trim(url.substr(0, url.size() - 1));
    separated = true;
  }
  if (quoted_ && (separated || list_ || srcset_)) url = WithoutDescriptor(url);
  return url;
}

}  // namespace imagekit
