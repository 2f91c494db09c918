// What is asked of the API: where it is, who asks, and the request targets of sections 2.6 and 4.1.

#ifndef IMAGEKIT_CORE_API_REQUEST_H
#define IMAGEKIT_CORE_API_REQUEST_H

#include <string>
#include <string_view>
#include <vector>

#include "core/secret.h"
#include "core/url.h"

namespace imagekit {

/// Entries asked for in one page of a search for one path and of a folder listing (section 2.1 allows up to 1000). A
/// search by folder and name has one hit or none; the rest of its page is there to see the service contradict itself.
constexpr size_t kSearchLimit = 10;
constexpr size_t kListLimit = 1000;

/// A longer request target (path and query) is not sent (section 2.2: "under 4 KB").
constexpr size_t kMaxTargetBytes = 4095;

/// Room for the `skip` of later pages, which every first page leaves.
constexpr size_t kSkipBytes = 16;

/// An account's `api_url`, taken apart.
struct ApiBase {
  std::string origin;     // "https://api.imagekit.io", "http://127.0.0.1:8080"
  std::string path;       // "" or "/base": put before every target
  std::string authority;  // "127.0.0.1:8080", for messages
  bool plain = false;     // http, which is let through to a loopback address only
};

/// Throws std::invalid_argument: not http(s), user info, query, fragment, characters outside a short list, or http to
/// anything but `localhost`, a literal 127.0.0.0/8 address or `[::1]`.
ApiBase ReadApiUrl(std::string_view api_url);

/// TransportOptions::proxy, taken apart.
struct Proxy {
  std::string url;                  // as given; empty: none
  std::string authority;            // "proxy.example:3128", for messages
  bool loopback = false;            // on this machine
  std::vector<SecretText> secrets;  // every form in which its password could be repeated
};

/// Throws std::invalid_argument unless `proxy` is empty or http://HOST:PORT, https://HOST:PORT or socks5h://HOST[:PORT],
/// each with or without USER:PASSWORD@; what() repeats nothing of it. No other kind of SOCKS: it would look up ImageKit's
/// name here, where it may not be known.
Proxy ReadProxy(std::string_view proxy);

/// Throws std::invalid_argument when `key` is empty, holds anything but printable ASCII, or a colon (which would end
/// the user name of Basic authentication); what() does not repeat the key.
void CheckPrivateKey(std::string_view key);

/// The value of the Authorization header: the key as user name, an empty password (section 1.2).
SecretText BasicCredentials(std::string_view key);

/// Every form in which a server that repeats what it was sent could give the key away.
std::vector<SecretText> SecretsOf(std::string_view key);

/// Only [0-9A-Za-z_-], not empty (section 2.3). Anything else could address another route than "one file".
bool IsFileId(std::string_view id) noexcept;

/// False for a name that cannot stand in a query's double quotes, because escapes are undocumented (section 2.2).
bool CanBeQuoted(std::string_view name) noexcept;

/// Why `path` cannot be looked up; empty when it can.
std::string WhyNotFindable(const LibraryPath& path);

/// The request targets, without ApiBase::path.
std::string SearchTarget(const LibraryPath& path);
std::string ListTarget(std::string_view folder);
/// Any one file of the whole library.
std::string ProbeTarget();
std::string DeleteTarget(std::string_view file_id);
std::string BulkDeleteTarget();
std::string PurgeTarget();
/// Section 7; days as "2026-11-01".
std::string UsageTarget(std::string_view from_day, std::string_view to_day);
/// `target` for a later page; `skip` is the number of entries already read.
std::string WithSkip(std::string target, size_t skip);

/// The target of a search for several names or fileIds, as long as there is room for them.
class ListedSearch {
 public:
  /// `field` is "name" or "id"; an empty `folder` means the whole library; `base_bytes` is the size of ApiBase::path.
  ListedSearch(std::string_view field, std::string_view folder, size_t base_bytes);

  /// Adds a value that CanBeQuoted(). False, and nothing is added, when the target would become too long.
  bool Add(std::string_view value);
  size_t size() const noexcept { return size_; }
  /// The target. `limit`: entries in a page.
  std::string Target(size_t limit) const;

 private:
  std::string target_;
  size_t most_bytes_;
  size_t size_ = 0;
};

/// {"fileIds": [...]}; every id must be one.
std::string BulkDeleteBody(const std::vector<std::string>& file_ids);
/// {"url": ...}; the URL must be UTF-8 without control characters.
std::string PurgeBody(std::string_view url);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_REQUEST_H
