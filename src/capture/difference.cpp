// The set difference of an UPDATE.

#include "capture/difference.h"

#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "pg/bridge.h"

namespace imagekit::capture {

namespace {

// Rows hold a handful of URLs: comparing each with each needs no memory. Beyond that, a table of fingerprints.
constexpr int64 kFewPairs = 4096;

// Keeps the items for which `keep` says so.
template <typename Keep>
void Filter(UrlList *list, Keep keep) {
  int kept = 0;
  for (int i = 0; i < list->count; i++)
    if (keep(list->items[i])) list->items[kept++] = list->items[i];
  list->count = kept;
}

bool IsIn(std::string_view url, const UrlList &list) {
  for (int i = 0; i < list.count; i++)
    if (list.items[i].url == url) return true;
  return false;
}

// By the letter, which settles nearly all.
void SubtractSame(UrlList *old_urls, const UrlList &new_urls) {
  if (int64{old_urls->count} * new_urls.count <= kFewPairs) {
    Filter(old_urls, [&](const FoundUrl &found) { return !IsIn(found.url, new_urls); });
    return;
  }
  pg::CallCxx([&] {
    std::unordered_set<std::string_view> still_there;
    for (int i = 0; i < new_urls.count; i++) still_there.insert(new_urls.items[i].url);
    Filter(old_urls, [&](const FoundUrl &found) { return still_there.count(found.url) == 0; });
  });
}

// By account and library path, for URLs that must be interpreted.
void SubtractMeant(UrlList *old_urls, const UrlList &new_urls, const EndpointMap &endpoints) {
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

struct PlainUrl {
  int account;
  std::string_view path;
};

// NULL when one of the URLs must be interpreted.
PlainUrl *ReadAllPlain(const UrlList &list, const EndpointMap &endpoints) {
  auto *plain = static_cast<PlainUrl *>(palloc(sizeof(PlainUrl) * (list.count + 1)));
  for (int i = 0; i < list.count; i++)
    if (!endpoints.ReadPlain(list.items[i].url, &plain[i].account, &plain[i].path)) return nullptr;
  return plain;
}

// The same for plain URLs, without a copy. False when there are others, or too many.
bool SubtractPlain(UrlList *old_urls, const UrlList &new_urls, const EndpointMap &endpoints) {
  if (int64{old_urls->count} * new_urls.count > kFewPairs) return false;
  const PlainUrl *before = ReadAllPlain(*old_urls, endpoints);
  const PlainUrl *after = before == nullptr ? nullptr : ReadAllPlain(new_urls, endpoints);
  if (after == nullptr) return false;
  const FoundUrl *first = old_urls->items;
  Filter(old_urls, [&](const FoundUrl &found) {
    const PlainUrl &removed = before[&found - first];
    for (int i = 0; i < new_urls.count; i++)
      if (after[i].account == removed.account && after[i].path == removed.path) return false;
    return true;
  });
  return true;
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
  if (old_urls->count == 0 || new_urls.count == 0) return;
  SubtractSame(old_urls, new_urls);
  if (old_urls->count == 0 || SubtractPlain(old_urls, new_urls, endpoints)) return;
  pg::CallCxx([&] { SubtractMeant(old_urls, new_urls, endpoints); });
}

}  // namespace imagekit::capture
