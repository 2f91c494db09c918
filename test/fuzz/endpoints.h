// The configuration under which the fuzz targets read URLs: that of section 9.10 of the API contract, and around it what
// makes endpoints hard: several accounts, one inside the other, aliases, identifiers that hide folders, a port.

#ifndef IMAGEKIT_TEST_FUZZ_ENDPOINTS_H
#define IMAGEKIT_TEST_FUZZ_ENDPOINTS_H

#include <string>
#include <string_view>
#include <vector>

#include "core/url.h"

namespace imagekit::fuzz {

struct Prefix {
  int account;
  int endpoint;  // prefixes of the same number are aliases: under each of them a path means the same file
  std::string_view host;
  std::string_view port;  // empty: the default
  std::string_view path;

  std::string Text() const {
    return "https://" + std::string(host) + (port.empty() ? "" : ":" + std::string(port)) + std::string(path);
  }
};

constexpr Prefix kPrefixes[] = {
    {1, 1, "ik.imagekit.io", "", "/acme"},
    {1, 1, "img.acme.example", "", ""},
    {1, 2, "ik.imagekit.io", "", "/acme/shop"},
    {1, 2, "img.acme.example", "", "/shop"},
    {1, 2, "shop-img.acme.example", "", ""},
    // Another account's endpoint inside the first account's, and one that looks like a file.
    {2, 3, "ik.imagekit.io", "", "/acme/v"},
    {2, 4, "img.acme.example", "", "/img.v2"},
    {3, 5, "ik.imagekit.io", "", "/globex"},
    {3, 5, "cdn.globex.example", "8443", "/media/2"},
    {3, 6, "ik.imagekit.io", "", "/globex/ik-new"},
};

inline const EndpointMap& Endpoints() {
  static const EndpointMap* endpoints = [] {
    auto* map = new EndpointMap;
    for (const Prefix& prefix : kPrefixes) map->Add(prefix.account, prefix.Text());
    return map;
  }();
  return *endpoints;
}

/// True for a segment that is, or ends, a longer prefix than another one: behind an alias it may be read otherwise.
inline bool NamesAnEndpoint(std::string_view segment) {
  for (std::string_view name : {"acme", "shop", "v", "img.v2", "globex", "media", "2", "ik-new"}) {
    if (segment == name) return true;
  }
  return false;
}

}  // namespace imagekit::fuzz

#endif  // IMAGEKIT_TEST_FUZZ_ENDPOINTS_H
