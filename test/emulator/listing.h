// GET /v1/files as a function: which items of a library a list or search answers, in which order, which page.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "library.h"
#include "search_match.h"

namespace ikemu {

struct ListRequest {
    bool files = true;
    bool versions = false;
    bool folders = false;
    std::optional<std::string> folder;  // only what is directly in it
    std::optional<std::string> name;
    std::vector<std::string> tags;  // any of them
    std::optional<bool> images;     // fileType: images only, or non-images only
    std::optional<SearchNode> query;
    SortKey sort = SortKey::created;
    bool descending = false;
    std::size_t skip = 0;
    std::size_t limit = 1000;
    // The index knows files added before `now - delay_new` and forgets those deleted before `now - delay_deleted`.
    std::int64_t now = 0;
    std::int64_t delay_new = 0;
    std::int64_t delay_deleted = 0;
};

// Folders come first, then files, then old versions, each in the order asked for (the service's own order of a mixed
// answer is not documented). Look-ups by id, by (folder, name) and by name use the indexes; anything else scans.
std::vector<Item> list_items(Library &library, const ListRequest &request);

}  // namespace ikemu
