// EndpointMap::Read: one URL, one verdict.
//
// It must never answer kLibraryFile for a URL that could mean two files, and never differ from Owns() in what is
// foreign: both rest on the same Match().

#include <algorithm>

#include "core/url.h"
#include "core/url_parts.h"
#include "core/url_path.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// In HTML "cats&amp;dogs.jpg" is the file "cats&dogs.jpg", in plain text a file of just this name; and "it&#39;s.jpg"
/// would end at the number sign. The column does not say which of the two it holds.
bool HasHtmlEntity(const UrlParts& parts, std::string_view url) noexcept {
  const size_t path_start = static_cast<size_t>(parts.path.data() - url.data());
  const size_t path_end = path_start + parts.path.size();
  return FindHtmlEntity(url, path_start) < path_end;
}

/// "…/a.jpg?w=1,https://…/b.jpg": a list of two, though everything behind the question mark looks like a query, and in
/// "…/tr:l-image,https://…/b,l-end/a.jpg" everything like one transformation. The scanner takes both for lists, and prose in
/// "…/a.jpg?w=1。 https://…/b.jpg" without spaces for two URLs.
bool HoldsAnotherUrl(std::string_view behind_host) noexcept {
  for (size_t at = behind_host.find_first_of(",;|"); at != std::string_view::npos;
       at = behind_host.find_first_of(",;|", at + 1)) {
    if (SchemeSize(behind_host.substr(at + 1)) > 0) return true;
  }
  const size_t separator = FindSeparator(behind_host, 0);
  if (separator == std::string_view::npos) return false;
  const std::string_view rest = behind_host.substr(separator);
  for (size_t at = rest.find("://"); at != std::string_view::npos; at = rest.find("://", at + 1))
    for (size_t letters : {4, 5})
      if (at >= letters && SchemeSize(rest.substr(at - letters)) == letters + 3) return true;
  return false;
}

/// What makes a path that could be read doubtful all the same: it may end earlier, at the file's name, and go on as text.
const char* DoubtAbout(std::string_view path) noexcept {
  if (FindSeparator(path, 0) != std::string_view::npos)
    return "a space, a punctuation mark or the like beyond ASCII in the path";
  if (FindLetterBehindName(path) != std::string_view::npos)
    return "a letter directly behind a file name's extension, which may be text";
  if (IsClosingPunctuation(path.back())) return "punctuation behind the file name, which may not be part of it";
  return nullptr;
}

/// What is wrong with the URL as a whole, before its path is looked at. Null when nothing is.
/// The order is that of the reasons' weight for the person who reads them: what spoils the whole text comes first.
const char* UrlProblem(std::string_view url, const UrlParts& parts) {
  if (std::any_of(url.begin(), url.end(), IsSpace)) return "white space in the URL";
  if (std::any_of(url.begin(), url.end(), IsControl)) return "a control character in the URL";
  if (std::any_of(url.begin(), url.end(), IsQuoteOrAngle))
    return "a quote, an angle bracket or a back-quote in the URL";
  if (parts.has_user_info) return "a user name before the host";
  if (parts.path.find('\\') != std::string_view::npos) return "a backslash in the path";
  if (HasHtmlEntity(parts, url)) return "an HTML entity such as &amp; in the path";
  if (HoldsAnotherUrl(url.substr(static_cast<size_t>(parts.path.data() - url.data()))))
    return "a second URL after the first";
  // Anywhere in the query and in any spelling: refusing too much only parks a row.
  if (Decode(parts.query).find("ik-obj-version") != std::string::npos) {
    return "the URL names an old version of the file (ik-obj-version)";
  }
  return nullptr;
}

}  // namespace

std::string LibraryPath::FilePath() const { return folder == "/" ? "/" + name : folder + "/" + name; }

UrlReading EndpointMap::Read(std::string_view url) const {
  UrlReading reading;
  UrlParts parts;
  size_t prefix_size = 0;
  const Entry* entry = SplitUrl(url, &parts) ? Match(parts, &prefix_size) : nullptr;
  // Foreign: the reading says so as it was made.
  if (entry == nullptr) return reading;

  reading.account = entry->account;
  const char* reason = UrlProblem(url, parts);
  // Match() knows more spellings of a prefix than ImageKit may.
  if (reason == nullptr && parts.path.substr(0, prefix_size) != entry->path) {
    reason = "the endpoint in the URL is not spelled as it is configured";
  }
  if (reason != nullptr) {
    reading.kind = UrlClass::kRefused;
    reading.reason = reason;
    return reading;
  }

  const std::string_view last_of_prefix = std::string_view(entry->path).substr(entry->path.rfind('/') + 1);
  reading.kind = ReadPath(parts.path.substr(prefix_size), LooksLikeFileName(last_of_prefix), &reading.path, &reason);
  if (reading.kind == UrlClass::kLibraryFile && (reason = DoubtAbout(parts.path)) != nullptr) {
    reading.kind = UrlClass::kRefused;
    reading.path = {};
  }
  if (reading.kind == UrlClass::kLibraryFile) {
    reading.other_readings = OtherReadings(parts, *entry);
  } else {
    reading.reason = reason;
  }
  return reading;
}

}  // namespace imagekit
