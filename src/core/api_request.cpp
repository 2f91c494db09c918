// Builds request targets and checks what goes into them.
//
// It must never let a name, a folder or a key change the shape of a request: what is not on a short list of characters
// is percent-encoded or refused. The host is the administrator's `api_url` and never anything from a row.

#include "core/api_request.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "core/api_text.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

bool IsDigit(char c) noexcept { return c >= '0' && c <= '9'; }

bool IsAlphanumeric(char c) noexcept { return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

/// A decimal number of at most `max`, without sign or leading zero.
bool IsNumber(std::string_view text, uint32_t max) noexcept {
  if (text.empty() || text.size() > 5 || (text[0] == '0' && text.size() > 1)) return false;
  uint32_t value = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return false;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  return value <= max;
}

/// A literal 127.0.0.0/8 address in its one usual spelling. The unusual ones ("127.1", "0177.0.0.1") are left out
/// because resolvers disagree on them.
bool IsLoopbackIpv4(std::string_view host) noexcept {
  int parts = 0;
  while (true) {
    const size_t dot = host.find('.');
    const std::string_view part = host.substr(0, dot);
    if (!IsNumber(part, 255) || (parts == 0 && part != "127")) return false;
    ++parts;
    if (dot == std::string_view::npos) return parts == 4;
    host.remove_prefix(dot + 1);
  }
}

/// Takes "host" or "host:port" apart; false when it is neither. An IPv6 address stands in brackets.
bool SplitAuthority(std::string_view authority, std::string_view* host, std::string_view* port) noexcept {
  size_t end;
  if (!authority.empty() && authority[0] == '[') {
    end = authority.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    const std::string_view address = authority.substr(1, end - 1);
    if (address.find_first_not_of("0123456789abcdef:.") != std::string_view::npos) return false;
    ++end;
  } else {
    end = std::min(authority.find(':'), authority.size());
    const std::string_view name = authority.substr(0, end);
    const bool good = std::all_of(name.begin(), name.end(),
                                  [](char c) { return IsAlphanumeric(c) || c == '.' || c == '-' || c == '_'; });
    if (name.empty() || name[0] == '.' || !good) return false;
  }
  *host = authority.substr(0, end);
  *port = "";
  if (end == authority.size()) return true;
  *port = authority.substr(end + 1);
  return authority[end] == ':' && IsNumber(*port, 65535) && *port != "0";
}

bool IsLoopback(std::string_view host) noexcept {
  return host == "localhost" || host == "[::1]" || IsLoopbackIpv4(host);
}

int HexDigit(char c) noexcept {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

SecretText PercentDecode(std::string_view text) {
  SecretText decoded;
  decoded.reserve(std::max<size_t>(text.size(), 32));
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0;
    decoded += escape ? static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return decoded;
}

/// The password of "user:password" (a lone user may be a token) as it stands in the URL, as it is meant, and as it
/// travels.
std::vector<SecretText> ProxySecrets(std::string_view user_info) {
  std::vector<SecretText> secrets;
  const size_t colon = user_info.find(':');
  const std::string_view password = user_info.substr(colon == std::string_view::npos ? 0 : colon + 1);
  if (password.empty()) return secrets;
  secrets.emplace_back(password);
  secrets.push_back(PercentDecode(password));
  secrets.push_back(Base64<SecretText>(View(PercentDecode(user_info))));
  return secrets;
}

}  // namespace

ApiBase ReadApiUrl(std::string_view api_url) {
  const size_t colon = api_url.find("://");
  const std::string scheme = LowerCase(api_url.substr(0, colon));
  if (colon == std::string_view::npos || (scheme != "https" && scheme != "http")) {
    throw std::invalid_argument("api_url must begin with https://");
  }
  const std::string_view rest = api_url.substr(colon + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());

  ApiBase base;
  base.authority = LowerCase(rest.substr(0, slash));
  std::string_view host, port;
  if (!SplitAuthority(base.authority, &host, &port)) {
    throw std::invalid_argument("api_url must be a host name or address, optionally with a port and a path");
  }
  base.plain = scheme == "http";
  if (base.plain && !IsLoopback(host)) {
    // The key travels with every request: only where no wire is touched may it go unencrypted.
    throw std::invalid_argument("api_url may be plain http for a loopback address only");
  }
  base.origin = scheme + "://" + base.authority;

  base.path = rest.substr(slash);
  while (!base.path.empty() && base.path.back() == '/') base.path.pop_back();
  const bool good = std::all_of(base.path.begin(), base.path.end(), [](char c) {
    return IsAlphanumeric(c) || c == '/' || c == '-' || c == '_' || c == '.' || c == '~';
  });
  // Dot segments would be resolved by some and sent by others.
  if (!good || base.path.size() > 255 || (base.path + '/').find("/../") != std::string::npos ||
      (base.path + '/').find("/./") != std::string::npos) {
    throw std::invalid_argument("the path of api_url may hold letters, digits, and - _ . ~ only, no query");
  }
  return base;
}

Proxy ReadProxy(std::string_view proxy) {
  Proxy read;
  if (proxy.empty()) return read;
  constexpr char kRefusal[] =
      "the proxy must be http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT, optionally with USER:PASSWORD@";
  const size_t colon = proxy.find("://");
  const std::string scheme = LowerCase(proxy.substr(0, colon));
  if (colon == std::string_view::npos || (scheme != "http" && scheme != "https" && scheme != "socks5h")) {
    throw std::invalid_argument(kRefusal);
  }
  std::string_view rest = proxy.substr(colon + 3);
  if (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  const size_t at = rest.rfind('@');
  const std::string_view user_info = at == std::string_view::npos ? "" : rest.substr(0, at);
  const bool clean = std::all_of(user_info.begin(), user_info.end(), [](char c) {
    return c > 0x20 && c < 0x7F && c != '/' && c != '@' && c != '?' && c != '#';
  });
  read.authority = LowerCase(at == std::string_view::npos ? rest : rest.substr(at + 1));
  std::string_view host, port;
  // Without a port libcurl would take 1080, which for HTTP is nobody's.
  if (!clean || !SplitAuthority(read.authority, &host, &port) || (port.empty() && scheme != "socks5h")) {
    throw std::invalid_argument(kRefusal);
  }
  read.url = proxy;
  read.loopback = IsLoopback(host);
  read.secrets = ProxySecrets(user_info);
  return read;
}

void CheckPrivateKey(std::string_view key) {
  if (key.empty()) throw std::invalid_argument("the private key is empty");
  for (const char c : key) {
    if (c < 0x20 || c > 0x7E) throw std::invalid_argument("the private key must be printable ASCII");
    if (c == ':') throw std::invalid_argument("the private key must not hold a colon");
  }
}

namespace {

SecretText Base64Credentials(std::string_view key) {
  SecretText credentials;
  credentials.reserve(std::max<size_t>(key.size() + 1, 32));
  credentials.append(key).append(":");
  return Base64<SecretText>(View(credentials));
}

}  // namespace

SecretText BasicCredentials(std::string_view key) { return "Basic " + Base64Credentials(key); }

std::vector<SecretText> SecretsOf(std::string_view key) {
  // Padding is dropped on both sides: a page that shows the key without its last "=" shows it all the same.
  const auto trim = [](SecretText* text) {
    const size_t end = text->find_last_not_of('=');
    if (end != SecretText::npos) text->resize(end + 1);
  };
  std::vector<SecretText> secrets(3);
  secrets[0].reserve(std::max<size_t>(key.size(), 32));
  secrets[0].append(key);
  trim(&secrets[0]);
  secrets[1] = PercentEncode<SecretText>(View(secrets[0]));
  secrets[2] = Base64Credentials(key);
  trim(&secrets[2]);
  return secrets;
}

bool IsFileId(std::string_view id) noexcept {
  return !id.empty() && id.size() <= 255 &&
         std::all_of(id.begin(), id.end(), [](char c) { return IsAlphanumeric(c) || c == '-' || c == '_'; });
}

bool CanBeQuoted(std::string_view name) noexcept {
  return std::none_of(name.begin(), name.end(), [](char c) {
    return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

std::string WhyNotFindable(const LibraryPath& path) {
  if (path.name.empty() || path.name.find('/') != std::string::npos) return "the file name is empty or holds a slash";
  // Without its leading slash, or empty, the folder would not narrow the search as intended.
  if (path.folder.empty() || path.folder[0] != '/') return "the folder does not begin with a slash";
  if (path.folder.size() > 1 && path.folder.back() == '/') return "the folder ends with a slash";
  if (!IsUtf8(path.folder) || !IsUtf8(path.name)) return "the library path is not valid UTF-8";
  return "";
}

std::string SearchTarget(const LibraryPath& path) {
  // The `type` parameter has no effect beside searchQuery, so the type stands in the query (section 2.1).
  return "/v1/files?path=" + PercentEncode(path.folder) +
         "&searchQuery=" + PercentEncode("type = \"file\" AND name = \"" + path.name + "\"") +
         "&limit=" + std::to_string(kSearchLimit);
}

std::string ListTarget(std::string_view folder) {
  return "/v1/files?path=" + PercentEncode(folder) + "&type=file&limit=" + std::to_string(kListLimit);
}

std::string ProbeTarget() { return "/v1/files?type=file&limit=1"; }

std::string DeleteTarget(std::string_view file_id) { return "/v1/files/" + std::string(file_id); }

std::string BulkDeleteTarget() { return "/v1/files/batch/deleteByFileIds"; }

std::string PurgeTarget() { return "/v1/files/purge"; }

std::string UsageTarget(std::string_view from_day, std::string_view to_day) {
  return "/v1/accounts/usage?startDate=" + PercentEncode(from_day) + "&endDate=" + PercentEncode(to_day);
}

std::string WithSkip(std::string target, size_t skip) {
  if (skip > 0) target += "&skip=" + std::to_string(skip);
  return target;
}

namespace {

// Percent-encoded: `]`, and "&limit=1000".
constexpr std::string_view kListEnd = "%5D";
constexpr size_t kLimitBytes = 11;

}  // namespace

ListedSearch::ListedSearch(std::string_view field, std::string_view folder, size_t base_bytes)
    : most_bytes_(kMaxTargetBytes -
                  std::min(kMaxTargetBytes, base_bytes + kListEnd.size() + kLimitBytes + kSkipBytes)) {
  target_ = "/v1/files?";
  if (!folder.empty()) target_ += "path=" + PercentEncode(folder) + "&";
  target_ += "searchQuery=" + PercentEncode("type = \"file\" AND " + std::string(field) + " IN [");
}

bool ListedSearch::Add(std::string_view value) {
  const std::string more = (size_ == 0 ? "%22" : "%2C%20%22") + PercentEncode(value) + "%22";
  if (target_.size() + more.size() > most_bytes_) return false;
  target_ += more;
  ++size_;
  return true;
}

std::string ListedSearch::Target(size_t limit) const {
  return target_ + std::string(kListEnd) + "&limit=" + std::to_string(limit);
}

std::string BulkDeleteBody(const std::vector<std::string>& file_ids) {
  std::string body = "{\"fileIds\":[";
  for (const std::string& id : file_ids) body += (&id == &file_ids.front() ? "\"" : ",\"") + id + '"';
  return body + "]}";
}

std::string PurgeBody(std::string_view url) {
  std::string body = "{\"url\":\"";
  for (const char c : url) {
    if (c == '"' || c == '\\') body += '\\';
    body += c;
  }
  return body + "\"}";
}

}  // namespace imagekit
