// Any bytes as a text column: the scanner's URLs lie in the text, in order; none of the text's URLs is lost; and a library
// file's URL comes out of the usual wrappings as it went in, never shortened to another file's.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/url.h"
#include "core/url_parts.h"
#include "endpoints.h"
#include "require.h"

namespace imagekit::fuzz {
namespace {

std::vector<std::string_view> Scan(std::string_view text) {
  std::vector<std::string_view> urls;
  UrlScanner scanner(text);
  std::string_view url;
  const char* position = text.data();
  while (scanner.Next(&url)) {
    Require(url.data() >= position && url.data() + url.size() <= text.data() + text.size(), "in the text, in order",
            url);
    Require(!url.empty() && SchemeOrRelativeSize(url) > 0, "a URL begins with its scheme", text, url);
    Require(!IsSpace(url.back()), "a URL does not end in white space", text, url);
    position = url.data() + url.size();
    urls.push_back(url);
  }
  Require(!scanner.Next(&url), "the end is the end", text);
  return urls;
}

/// No "https://" of the text may be lost: it is a use of a file.
void CheckNothingLost(std::string_view text, const std::vector<std::string_view>& urls) {
  size_t next = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const size_t scheme = SchemeSize(text.substr(at));
    if (scheme == 0) continue;
    const char* start = text.data() + at;
    while (next < urls.size() && urls[next].data() + urls[next].size() <= start) ++next;
    Require(next < urls.size() && urls[next].data() <= start && urls[next].data() + urls[next].size() >= start + scheme,
            "each URL of the text is found, or lies in one", text, text.substr(at));
  }
}

/// `url` wrapped as a writer would do it, and what the scanner makes of it.
void CheckWrapped(std::string_view url, std::string_view before, std::string_view after) {
  const std::string text = std::string(before) + std::string(url) + std::string(after);
  const std::vector<std::string_view> urls = Scan(text);
  CheckNothingLost(text, urls);
  Require(urls.size() == 1 && urls[0] == url, "a URL comes out as it went in", text, urls.empty() ? "" : urls[0]);
}

void CheckLibraryFile(std::string_view url) {
  CheckWrapped(url, "", "");
  CheckWrapped(url, " \n", "\t");
  CheckWrapped(url, "see `", "` and more");
  // A relative URL begins only where a text or a quotation does; the rest is about what a sentence may hold.
  if (SchemeSize(url) == 0 || url.find_first_of("\\'&;()[]{}|") != std::string_view::npos) return;
  CheckWrapped(url, "<", ">");
  CheckWrapped(url, "<img src=\"", "\" alt=\"x\">");
  CheckWrapped(url, "<a href='", "'>x</a>");
  CheckWrapped(url, "{\"a\":\"{\\\"url\\\":\\\"", "\\\"}\"}");
  CheckWrapped(url, "{&quot;url&quot;:&quot;", "&quot;}");
  CheckWrapped(url, "x &lt;", "&gt;");
  if (!IsAlnum(url.back()) && static_cast<unsigned char>(url.back()) < 0x80) return;
  CheckWrapped(url, "see ", ", or not.");
  CheckWrapped(url, "see: ", "\nand more");
  CheckWrapped(url, "**", "**");
  CheckWrapped(url, "![cat](", " \"title\")");
  CheckWrapped(url, "url(", ");");
  CheckWrapped(url, "[img]", "[/img]");
  CheckWrapped(url, "|", "|x|");

  for (const char* between : {", ", ",", "; ", "|", "\n"}) {
    const std::string list = std::string(url) + between + std::string(url);
    const std::vector<std::string_view> both = Scan(list);
    Require(both.size() == 2 && both[0] == url && both[1] == url, "a list of two is two", list);
  }
}

}  // namespace
}  // namespace imagekit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagekit::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string_view> urls = Scan(text);
  CheckNothingLost(text, urls);
  for (const std::string_view url : urls) {
    if (Endpoints().Read(url).kind == imagekit::UrlClass::kLibraryFile) CheckLibraryFile(url);
  }
  return 0;
}
