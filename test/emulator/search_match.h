// Decides whether one item of the library satisfies a parsed search query.
#pragma once

#include "library.h"
#include "search_query.h"

namespace ikemu {

// A file, an old version of a file, or a folder: exactly one of `file` and `folder` is set, `version` only with `file`.
struct Item {
    const File *file = nullptr;
    const OldVersion *version = nullptr;
    const Folder *folder = nullptr;
};

bool search_matches(const SearchNode &query, const Item &item);
// Does the query say anything about `field`?
bool search_mentions(const SearchNode &query, Field field);
// "file", "file-version" or "folder".
const char *item_type(const Item &item);

}  // namespace ikemu
