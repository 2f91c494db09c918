// Reading calls of the media API: list and search, details, versions, metadata.
#include <algorithm>

#include "api.h"
#include "item_json.h"
#include "listing.h"
#include "times.h"

namespace ikemu {

namespace {

Reply text_json(std::string body) {
    Reply reply;
    reply.content_type = "application/json; charset=utf-8";
    reply.body = std::move(body);
    return reply;
}

std::size_t count_param(const Call &call, const char *name, long long smallest, long long largest,
                        std::size_t standard) {
    const std::string *text = call.request.param(name);
    if (!text || text->empty())
        return standard;
    char *end = nullptr;
    const long long value = std::strtoll(text->c_str(), &end, 10);
    const std::string sent = " Value sent is " + *text + ".";
    if (*end != '\0')
        throw ApiError(400, std::string("Your request contains invalid value for ") + name + " parameter.");
    if (value < smallest)
        throw ApiError(400, std::string(name) == "skip"
                                ? "The value of skip parameter should be greater than or equal to 0." + sent
                                : "Minimum value of limit parameter is 1." + sent);
    if (value > largest)
        throw ApiError(400, "Maximum value of limit parameter is 1000." + sent);
    return static_cast<std::size_t>(value);
}

void read_sort(const Call &call, ListRequest &list) {
    static const std::vector<std::pair<std::string, SortKey>> keys{
        {"NAME", SortKey::name},     {"CREATED", SortKey::created}, {"UPDATED", SortKey::updated},
        {"HEIGHT", SortKey::height}, {"WIDTH", SortKey::width},     {"SIZE", SortKey::size},
        {"RELEVANCE", SortKey::created}};
    const std::string *sort = call.request.param("sort");
    if (!sort || sort->empty())
        return;
    const std::size_t line = sort->find('_');
    const std::string direction = sort->substr(0, line);
    for (const auto &[name, key] : keys) {
        if (line != std::string::npos && sort->substr(line + 1) == name &&
            (direction == "ASC" || direction == "DESC")) {
            list.sort = key;
            list.descending = direction == "DESC";
            return;
        }
    }
    throw ApiError(400, "Your request contains invalid value for sort parameters.");
}

void read_type(const Call &call, ListRequest &list) {
    const std::string *type = call.request.param("type");
    const std::string *folders = call.request.param("includeFolder");
    const std::string wanted = type && !type->empty() ? *type : folders && *folders == "true" ? "all" : "file";
    if (wanted != "file" && wanted != "file-version" && wanted != "folder" && wanted != "all")
        throw ApiError(400, "Your request contains invalid value for type parameter. Please provide one of the "
                            "following: file, file-version, folder, all.");
    list.files = wanted == "file" || wanted == "all";
    list.folders = wanted == "folder" || wanted == "all";
    list.versions = wanted == "file-version";
}

void read_file_type(const Call &call, ListRequest &list) {
    const std::string *type = call.request.param("fileType");
    if (!type || type->empty() || *type == "all")
        return;
    if (*type != "image" && *type != "non-image")
        throw ApiError(400, "Your request contains invalid value for fileType parameter. Please provide one of the "
                            "following: all, image, non-image.");
    list.images = *type == "image";
}

// A search disables the parameters type, name and tags; which kinds of item it finds is for its own type term to say.
void read_search(const Call &call, const std::string &query, ListRequest &list) {
    const Switches &switches = call.state.switches;
    SearchDialect dialect;
    dialect.single_quotes = switches.single_quotes == "accepted";
    dialect.backslash_escape = switches.backslash_escape == "accepted";
    dialect.path_without_slash = switches.path_without_slash == "accepted";
    try {
        list.query = parse_search_query(query, dialect, call.now);
    } catch (const SearchError &error) {
        throw ApiError(400, std::string("Invalid search query - ") + error.what());
    }
    list.folders = true;
    list.versions = search_mentions(*list.query, Field::type);
}

void read_legacy(const Call &call, ListRequest &list) {
    const std::string *name = call.request.param("name");
    const std::string *tags = call.request.param("tags");
    if (name && !name->empty() && call.state.switches.legacy_name == "honoured")
        list.name = *name;
    if (!tags)
        return;
    std::size_t start = 0;
    while (start < tags->size()) {
        const std::size_t end = std::min(tags->find(',', start), tags->size());
        if (end > start)
            list.tags.push_back(tags->substr(start, end - start));
        start = end + 1;
    }
}

Json::Value image_facts(const File &file) {
    Json::Value out(Json::objectValue);
    out["height"] = file.height;
    out["width"] = file.width;
    out["size"] = static_cast<Json::UInt64>(file.size);
    out["format"] = file_format(file.name);
    out["hasColorProfile"] = false;
    out["quality"] = 82;
    out["density"] = 72;
    out["hasTransparency"] = file.extra && file.extra->transparent;
    out["pHash"] = "d1c2b3a4958677e0";
    out["exif"] = Json::Value(Json::objectValue);
    return out;
}

}  // namespace

Reply list_files(Call &call) {
    ListRequest list;
    list.limit = count_param(call, "limit", 1, 1000, 1000);
    list.skip = count_param(call, "skip", 0, 1LL << 40, 0);
    read_sort(call, list);
    read_file_type(call, list);
    const std::string *query = call.request.param("searchQuery");
    const bool searching = query && !query->empty();
    if (searching) {
        read_search(call, *query, list);
    } else {
        read_type(call, list);
        read_legacy(call, list);
    }
    const Switches &switches = call.state.switches;
    const std::string *path = call.request.param("path");
    if (path && !path->empty() && (!searching || switches.search_path_parameter == "honoured")) {
        list.folder = normal_folder(*path);
        if (switches.missing_folder == "404" && !call.account.library.find_folder(*list.folder))
            throw ApiError(404, "The requested folder does not exist.");
    }
    list.now = call.now;
    list.delay_new = switches.index_delay_new_ms;
    list.delay_deleted = switches.index_delay_deleted_ms;

    const std::vector<Item> items = list_items(call.account.library, list);
    std::string body = "[";
    body.reserve(items.size() * 900 + 2);
    for (const Item &item : items) {
        if (body.size() > 1)
            body += ',';
        append_item(body, item, call.account, switches);
    }
    body += ']';
    return text_json(std::move(body));
}

Reply file_details(Call &call) {
    std::string body;
    append_item(body, Item{file_of(call, call.args[0]), nullptr, nullptr}, call.account, call.state.switches);
    return text_json(std::move(body));
}

Reply list_versions(Call &call) {
    const File *file = file_of(call, call.args[0]);
    std::string body = "[";
    append_item(body, Item{file, nullptr, nullptr}, call.account, call.state.switches);
    if (file->extra) {
        for (const OldVersion &version : file->extra->versions) {
            body += ',';
            append_item(body, Item{file, &version, nullptr}, call.account, call.state.switches);
        }
    }
    body += ']';
    return text_json(std::move(body));
}

Reply version_details(Call &call) {
    const File *file = file_of(call, call.args[0]);
    const auto id = parse_id(call.args[1]);
    if (!id)
        throw ApiError(400, "Your request contains invalid versionId parameter.");
    Item item{file, nullptr, nullptr};
    if (*id != file->version_id) {
        if (file->extra)
            for (const OldVersion &version : file->extra->versions)
                if (version.id == *id)
                    item.version = &version;
        if (!item.version)
            throw ApiError(404, "The requested file version does not exist.");
    }
    std::string body;
    append_item(body, item, call.account, call.state.switches);
    return text_json(std::move(body));
}

Reply file_metadata(Call &call) {
    return json_reply(200, image_facts(*file_of(call, call.args[0])));
}

Reply metadata_by_url(Call &call) {
    const std::string *url = call.request.param("url");
    if (!url || url->empty())
        throw ApiError(400, "Your request is missing URL parameter.");
    const std::string path = library_path_of(call.account, *url);
    if (path.empty())
        throw ApiError(400, "The url should be accessible using your ImageKit.io account.");
    const auto [folder, name] = split_file_path(path);
    const File *file = call.account.library.find(folder, name);
    if (!file)
        throw ApiError(404, "The requested file does not exist or is inaccessible at this time.");
    return json_reply(200, image_facts(*file));
}

}  // namespace ikemu
