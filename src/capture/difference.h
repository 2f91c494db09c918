// Removed = old minus new, by the file meant and not by the letter.

#ifndef IMAGEKIT_CAPTURE_DIFFERENCE_H
#define IMAGEKIT_CAPTURE_DIFFERENCE_H

#include <string_view>

#include "core/url.h"

namespace imagekit::capture {

struct FoundUrl {
  std::string_view url;
  std::string_view file_id;
};

/// A growing list in the current memory context.
struct UrlList {
  FoundUrl *items;
  int count;
  int room;
};

void Append(UrlList *list, std::string_view url, std::string_view file_id);

/// Leaves in `old_urls` those that no URL of `new_urls` stands for. A row that exchanges
/// `a.jpg?updatedAt=1` for `a.jpg?updatedAt=2` has removed nothing.
void Subtract(UrlList *old_urls, const UrlList &new_urls, const EndpointMap &endpoints);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_DIFFERENCE_H
