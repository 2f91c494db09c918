#include "core/url.h"
#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

InnerUrls::InnerUrls(std::string_view url) noexcept : url_(url), next_(Find(SchemeOrRelativeSize(url))) {}

/// Where the first URL behind `from` begins: with its scheme, or with "//" and a host.
size_t InnerUrls::Find(size_t from) const noexcept {
  for (size_t at = url_.find("//", from); at != std::string_view::npos; at = url_.find("//", at + 1)) {
    for (const size_t letters : {size_t{6}, size_t{5}})  // "https:", "http:"
      if (at >= from + letters && SchemeSize(url_.substr(at - letters)) == letters + 2) return at - letters;
    if (at > 0 && url_[at - 1] != ':' && url_[at - 1] != '/' && SchemeOrRelativeSize(url_.substr(at)) > 0) return at;
  }
  return std::string_view::npos;
}

bool InnerUrls::Next(std::string_view* inner) noexcept {
  if (next_ == std::string_view::npos) return false;
  const size_t start = next_;
  next_ = Find(start + SchemeOrRelativeSize(url_.substr(start)));
  *inner = url_.substr(start, next_ == std::string_view::npos ? next_ : next_ - start);
  return true;
}

}  // namespace imagekit
