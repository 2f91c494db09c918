// The set difference of an UPDATE.

#include "capture/difference.h"

#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "pg/bridge.h"

namespace imagekit::capture {

namespace {

// Keeps the items for which `keep` says so.
template <typename Keep>
void Filter(UrlList *list, Keep keep) {
  int kept = 0;
  for (int i = 0; i < list->count; i++)
    if (keep(list->items[i])) list->items[kept++] = list->items[i];
  list->count = kept;
}

// First by the letter, which settles nearly all; then, for what is left, by account and library path.
void SubtractInCxx(UrlList *old_urls, const UrlList &new_urls, const EndpointMap &endpoints) {
  std::unordered_set<std::string_view> seen;
  for (int i = 0; i < new_urls.count; i++) seen.insert(new_urls.items[i].url);
  Filter(old_urls, [&](const FoundUrl &found) { return seen.insert(found.url).second; });
  if (old_urls->count == 0 || new_urls.count == 0) return;

  std::set<std::pair<int, std::string>> still_there;
  for (int i = 0; i < new_urls.count; i++) {
    UrlReading reading = endpoints.Read(new_urls.items[i].url);
    if (reading.kind == UrlClass::kLibraryFile) still_there.emplace(reading.account, reading.path.FilePath());
  }
  Filter(old_urls, [&](const FoundUrl &found) {
    UrlReading reading = endpoints.Read(found.url);
    return reading.kind != UrlClass::kLibraryFile || still_there.count({reading.account, reading.path.FilePath()}) == 0;
  });
}

}  // namespace

void Append(UrlList *list, std::string_view url, std::string_view file_id) {
  if (list->count == list->room) {
    list->room = list->room == 0 ? 8 : list->room * 2;
    list->items = list->items == nullptr
                      ? static_cast<FoundUrl *>(palloc(sizeof(FoundUrl) * list->room))
                      : static_cast<FoundUrl *>(repalloc_huge(list->items, sizeof(FoundUrl) * list->room));
  }
  list->items[list->count++] = {url, file_id};
}

void Subtract(UrlList *old_urls, const UrlList &new_urls, const EndpointMap &endpoints) {
  if (old_urls->count == 0 || (old_urls->count == 1 && new_urls.count == 0)) return;
  pg::CallCxx([&] { SubtractInCxx(old_urls, new_urls, endpoints); });
}

}  // namespace imagekit::capture
