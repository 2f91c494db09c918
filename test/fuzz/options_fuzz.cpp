// Any bytes as what a person configures or a header says: endpoints, the API's address, keys, times, text to be cleaned.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/api_request.h"
#include "core/api_text.h"
#include "core/api_time.h"
#include "core/url.h"
#include "core/url_parts.h"
#include "require.h"

namespace imagekit::fuzz {
namespace {

void CheckAsEndpoint(std::string_view text) {
  EndpointMap endpoints;
  try {
    endpoints.Add(1, text);
  } catch (const EndpointError& error) {
    Require(error.what()[0] != '\0' && endpoints.empty(), "a refusal says why and adds nothing", text);
    return;
  }
  endpoints.Add(1, text);
  bool taken = false;
  try {
    endpoints.Add(2, text);
  } catch (const EndpointError&) {
    taken = true;
  }
  Require(taken, "a prefix belongs to one account", text);

  // What is accepted must work: an endpoint that nothing lies under would delete nothing, and nobody would learn why.
  const std::string base(text.substr(0, text.size() - (text.back() == '/' ? 1 : 0)));
  for (const std::string& between : {std::string("/"), std::string("//"), std::string("/tr:w-9/")}) {
    // "…,http:" and two slashes are the beginning of another URL.
    if (between == "//" && base.back() == ':') continue;
    const std::string url = base + between + "pets/my%20cat.jpg";
    const UrlReading reading = endpoints.Read(url);
    Require(reading.kind == UrlClass::kLibraryFile && reading.account == 1, "URLs under an endpoint are read", url);
    Require(reading.path.FilePath() == "/pets/my cat.jpg" && reading.other_readings.empty(), "as they mean", url);
    Require(endpoints.Owns(url), "and owned", url);
  }
  Require(endpoints.Owns(base) && endpoints.Owns(base + "?x"), "the endpoint itself is owned", base);
  Require(!endpoints.Owns(base + "x/cat.jpg"), "a longer name is another endpoint, or host", base);
  const size_t scheme = SchemeSize(text);
  Require(!endpoints.Owns("https://x" + base.substr(scheme)), "a longer host is another", base);
  if (endpoints.Owns("https://else.example/")) return;
  Require(!endpoints.Owns("https://else.example/" + base.substr(scheme)), "a host in the path is none", base);
}

void CheckAsApiUrl(std::string_view text) {
  try {
    const ApiBase base = ReadApiUrl(text);
    const std::string host = base.authority.substr(0, base.authority.find(':', base.authority.find(']') + 1));
    const bool loopback = host == "localhost" || host == "[::1]" || host.compare(0, 4, "127.") == 0;
    Require(!base.plain || loopback, "a key travels in the clear on this machine only", text, base.authority);
    Require(base.origin == (base.plain ? "http://" : "https://") + base.authority, "the origin is the address", text);
    Require((base.origin + base.path).find_first_of("@?#\\ \r\n") == std::string::npos, "the address is one", text);
    Require(base.path.empty() || (base.path[0] == '/' && base.path.back() != '/'), "the path can be put before others",
            text, base.path);
    const ApiBase again = ReadApiUrl(base.origin + base.path);
    Require(again.origin == base.origin && again.path == base.path, "read again it is the same", text);
  } catch (const std::invalid_argument& error) {
    Require(error.what()[0] != '\0', "a refusal says why", text);
  }
}

void CheckAsKey(std::string_view text) {
  try {
    CheckPrivateKey(text);
  } catch (const std::invalid_argument& error) {
    Require(text.size() < 8 || std::string_view(error.what()).find(text) == std::string_view::npos,
            "a refusal does not repeat the key", text, error.what());
    return;
  }
  Require(text.find(':') == std::string_view::npos, "a key is the whole user name", text);
  const std::string credentials(View(BasicCredentials(text)));
  Require(credentials.find_first_of("\r\n") == std::string::npos, "one header", text);
  const std::string leak = "<" + std::string(text) + "> " + credentials + " " + PercentEncode(text);
  const std::string clean = CleanText(HideSecrets(leak, SecretsOf(text)), leak.size() * 3);
  // What looks like the mask, or like what stands around it here, is no key.
  const bool real = text.size() >= 8 && text.find_first_of("*<> ") == std::string_view::npos;
  Require(!real || text.back() == '=' || clean.find(text) == std::string::npos, "a key is hidden", text, clean);
}

void CheckAsText(std::string_view text) {
  const size_t most = text.size() / 2;
  const std::string clean = CleanText(text, most);
  Require(IsUtf8(clean) && clean.size() <= most, "clean text is text and short enough", text, clean);
  Require(CleanText(clean, most) == clean, "clean text is clean", text, clean);
  for (size_t at = 0; at < clean.size();) {
    char32_t c = 0;
    const size_t size = CodePointAt(clean, at, &c);
    Require(size > 0 && c >= 0x20 && (c < 0x7f || c >= 0xa0) && c != 0x2028 && c != 0x2029, "one line", text, clean);
    at += size;
  }
  // The URL's reader and the API's judge UTF-8 each for itself.
  bool sound = true;
  for (size_t at = 0; sound && at < text.size();) {
    char32_t c;
    const size_t size = CodePointAt(text, at, &c);
    sound = size > 0;
    at += size;
  }
  Require(sound == IsUtf8(text), "both know the same UTF-8", text);
  Require(Decode(PercentEncode(text)) == text, "what is encoded is decoded", text);
  Require(!HasBrokenEscape(PercentEncode(text)), "what is encoded has sound escapes", text);
}

void CheckAsLibraryPath(std::string_view text) {
  const size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return;
  const LibraryPath path = {slash == 0 ? "/" : std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
  if (!WhyNotFindable(path).empty()) return;
  const std::string end = "&limit=10";
  const std::string target = SearchTarget(path);
  const size_t query = target.find("&searchQuery=");
  Require(target.find_first_of("?") == target.rfind("?") && target.find('#') == std::string::npos, "one query", target);
  Require(Decode(target.substr(0, query)) == "/v1/files?path=" + path.folder, "the folder is the one meant", target);
  if (!CanBeQuoted(path.name)) return;
  Require(target.substr(target.size() - end.size()) == end, "then the limit", target);
  const size_t from = query + std::string_view("&searchQuery=").size();
  Require(Decode(target.substr(from, target.size() - end.size() - from)) ==
              "type = \"file\" AND name = \"" + path.name + "\"",
          "the name is the one meant", target);
  Require(path.name.find('"') == std::string::npos, "no name ends its quotes", target);
}

/// One request for many: each name stands in quotes of its own, and nothing of a name reaches beyond them.
void CheckAsNames(std::string_view text) {
  std::vector<std::string> names;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string name(text.substr(from, end - from));
    if (CanBeQuoted(name) && WhyNotFindable({"/", name}).empty()) names.push_back(name);
    from = end + 1;
  }
  ListedSearch search("name", "", 0);
  std::string listed;
  for (const std::string& name : names) {
    const size_t before = search.size();
    if (search.Add(name)) listed += (before == 0 ? "\"" : ", \"") + name + '"';
  }
  if (search.size() == 0) return;
  const std::string target = search.Target(1000);
  Require(target.size() < 4096, "the target is short enough", target);
  Require(target.find('?') == target.rfind('?') && target.find('#') == std::string::npos, "one query", target);
  const std::string start = "/v1/files?searchQuery=";
  const std::string end = "&limit=1000";
  Require(target.substr(0, start.size()) == start && target.substr(target.size() - end.size()) == end, "one limit",
          target);
  const std::string query = target.substr(start.size(), target.size() - start.size() - end.size());
  Require(query.find('&') == std::string::npos, "one parameter", target);
  Require(Decode(query) == "type = \"file\" AND name IN [" + listed + "]", "the names are the ones meant", target);
  Require(std::count(listed.begin(), listed.end(), '"') == static_cast<std::ptrdiff_t>(2 * search.size()),
          "no name ends its quotes", target);
}

void CheckAsProxy(std::string_view text) {
  try {
    const Proxy proxy = ReadProxy(text);
    Require(proxy.url == text, "the proxy is the one given", text);
    Require(proxy.url.empty() || !proxy.authority.empty(), "a proxy has a host", text);
    Require(proxy.authority.find_first_of("@/ \r\n") == std::string::npos, "its name is no more", proxy.authority);
  } catch (const std::invalid_argument& error) {
    Require(error.what()[0] != '\0', "a refusal says why", text);
  }
}

/// Unix time in milliseconds as the API writes it.
std::string IsoTime(int64_t ms) {
  const time_t seconds = static_cast<time_t>(ms / 1000);
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[80];
  snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
           parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(ms % 1000));
  return text;
}

void CheckAsTime(std::string_view text) {
  const int64_t ms = ParseIsoTime(text);
  Require(ms >= -1, "a time or none", text);
  const std::string written = ms >= 0 ? IsoTime(ms) : "";
  // An offset may lead into the year 10000.
  if (ms >= 0 && written[4] == '-') Require(ParseIsoTime(written) == ms, "a time is the time it says", text, written);
  // A day that the calendar does not have would come back as another.
  const bool utc = ms >= 0 && text.back() == 'Z';
  if (utc) Require(written.substr(0, 19) == text.substr(0, 19), "a time is in the calendar", text, written);
  if (ms >= 0) Require(ParseIsoTime(std::string(text) + "0") == -1, "nothing follows a time", text);
  for (const int64_t now : {int64_t{0}, int64_t{1792000000000}}) {
    for (const auto& [reset, after] :
         {std::pair(std::string(text), std::string()), std::pair(std::string(), std::string(text))}) {
      const int64_t wait = RetryAfterMs(reset, after, now);
      Require(wait >= 1000 && wait <= 900000, "a wait is one second to 15 minutes", text);
    }
  }
}

}  // namespace
}  // namespace imagekit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagekit::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckAsEndpoint(text);
  CheckAsApiUrl(text);
  CheckAsKey(text);
  CheckAsText(text);
  CheckAsLibraryPath(text);
  CheckAsNames(text);
  CheckAsProxy(text);
  CheckAsTime(text);
  return 0;
}
