// The letters of a URL: character classes, percent escapes, UTF-8, and the cut into host, path and query.
//
// Private to the url*.cpp and endpoint*.cpp files. Nothing here decides what a URL means, and nothing here may fail on
// any bytes: a row can hold anything.

#ifndef IMAGEKIT_CORE_URL_PARTS_H
#define IMAGEKIT_CORE_URL_PARTS_H

#include <string>
#include <string_view>

namespace imagekit {

// ASCII only and independent of the locale: isspace() and friends would make the meaning of a URL, and with it an index
// on UrlKey, depend on the server's environment.

constexpr bool IsSpace(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }
constexpr bool IsControl(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
constexpr bool IsDigit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr char Lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr bool IsAlnum(char c) noexcept { return IsDigit(c) || (Lower(c) >= 'a' && Lower(c) <= 'z'); }
/// What HTML, JSON and Markdown put around a URL, and what therefore never stands in one unescaped.
constexpr bool IsQuoteOrAngle(char c) noexcept { return c == '"' || c == '<' || c == '>' || c == '`'; }
/// No URL holds one of these unescaped, so text beyond it is not certainly part of the URL.
constexpr bool NeverInUrl(char c) noexcept { return c == ' ' || IsControl(c) || IsQuoteOrAngle(c); }
/// Browsers take a backslash for a slash. We never do so for a library path, but must see what they would load.
constexpr bool IsSlash(char c) noexcept { return c == '/' || c == '\\'; }

/// Size of a leading "http://" or "https://" in any case, otherwise 0.
size_t SchemeSize(std::string_view text) noexcept;

/// The same, and 2 for a leading "//" with the start of a host behind it (a "// comment" is none).
size_t SchemeOrRelativeSize(std::string_view text) noexcept;

/// Views into the URL that was cut up.
struct UrlParts {
  bool has_user_info = false;
  std::string_view host;        // as written, without the one trailing dot of an absolute name
  std::string_view port;        // without leading zeros; empty when absent or the scheme's default
  std::string_view path;        // from its first slash up to the query or fragment; may be empty
  std::string_view query;       // without the question mark
  std::string_view after_path;  // query and fragment with their marks
};

/// Cuts up an http, https or scheme-relative URL; leading white space is passed over. False for everything else. The
/// host ends where no host can go on (also at white space, a quote or a backslash), so that what begins like one of our
/// URLs is recognised as ours whatever follows.
bool SplitUrl(std::string_view url, UrlParts* parts) noexcept;

/// The character at `at` with a percent escape decoded, and how many bytes it takes there (1 or 3). A broken escape
/// stands for itself. `at` must lie inside `text`.
size_t DecodeAt(std::string_view text, size_t at, char* decoded) noexcept;

/// True when "%" stands somewhere without two hexadecimal digits behind it.
bool HasBrokenEscape(std::string_view text) noexcept;

/// Decodes once; broken escapes stay as they are.
std::string Decode(std::string_view text);

/// Where the first character reference of HTML from `at` on begins ("&amp;", "&#39;", "&#x27;"); npos when there is none.
size_t FindHtmlEntity(std::string_view text, size_t at) noexcept;

/// The code point at `at` and its size in bytes; 0 when the bytes there are not UTF-8 (overlong forms, surrogates and
/// numbers above U+10FFFF included).
size_t CodePointAt(std::string_view text, size_t at, char32_t* code_point) noexcept;

/// Beyond ASCII, a character that separates words and belongs to none: a space, punctuation, a mathematical or currency sign,
/// a format or control character. Prose goes on with one behind a URL ("…/cat.jpg。"). Letters of all scripts, what is combined
/// with them, digits and emoji are none. The size of the one at `at`, otherwise 0.
size_t SeparatorAt(std::string_view text, size_t at) noexcept;

/// The first of them from `at` on; npos when there is none.
size_t FindSeparator(std::string_view text, size_t at) noexcept;

/// The size of the one that ends directly before `at`, otherwise 0.
size_t SeparatorBefore(std::string_view text, size_t at) noexcept;

/// The same for a letter beyond ASCII that directly follows a file name's usual extension: scripts that have no spaces between
/// words go on like that ("…/cat.jpg和"). Where text of one of them begins; npos when nowhere.
size_t FindLetterBehindName(std::string_view text) noexcept;

/// Where the extension begins that the text ends in, letters and digits behind a dot; 0 when it ends in none.
constexpr size_t ExtensionStart(std::string_view text) noexcept {
  size_t start = text.size();
  while (start > 0 && IsAlnum(text[start - 1])) --start;
  return start < text.size() && start > 0 && text[start - 1] == '.' ? start : 0;
}

/// What a sentence, a bracket or an emphasis leaves at the end of a URL. A name may end in it too ("photo(1)").
constexpr bool IsClosingPunctuation(char c) noexcept {
  return std::string_view(".,;:!?)]}'*~|([{^").find(c) != std::string_view::npos;
}

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_URL_PARTS_H
