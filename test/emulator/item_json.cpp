// The JSON of list entries and details; field order as in the API's samples.
#include "item_json.h"

#include <cstdio>
#include <map>

#include "api.h"
#include "times.h"

namespace ikemu {

namespace {

void append_member(std::string &out, const char *name, const std::string &text) {
    out += '"';
    out += name;
    out += "\":";
    append_json_string(out, text);
    out += ',';
}

void append_raw(std::string &out, const char *name, const std::string &value) {
    out += '"';
    out += name;
    out += "\":";
    out += value;
    out += ',';
}

const char *truth(bool value) {
    return value ? "true" : "false";
}

std::string string_list(const std::vector<std::string> &items) {
    if (items.empty())
        return "null";
    std::string out = "[";
    for (const std::string &item : items) {
        append_json_string(out, item);
        out += ',';
    }
    out.back() = ']';
    return out;
}

std::string ai_tag_list(const std::vector<std::string> &names) {
    if (names.empty())
        return "null";
    std::string out = "[";
    for (const std::string &name : names) {
        out += "{\"name\":";
        append_json_string(out, name);
        out += ",\"confidence\":92.5,\"source\":\"google-auto-tagging\"},";
    }
    out.back() = ']';
    return out;
}

void append_folder(std::string &out, const Folder &folder) {
    out += "{\"type\":\"folder\",";
    append_member(out, "name", folder.name);
    append_member(out, "createdAt", iso_time(folder.created_ms));
    append_member(out, "updatedAt", iso_time(folder.updated_ms));
    append_member(out, "folderId", to_hex(folder.id));
    append_member(out, "folderPath", folder.path);
    out += "\"customMetadata\":{}}";
}

}  // namespace

void append_json_string(std::string &out, const std::string &text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
            out += escaped;
        } else {
            out += c;
        }
    }
    out += '"';
}

std::string delivery_url(const Account &account, const std::string &file_path) {
    std::string out = "https://ik.imagekit.io/" + account.name;
    // Not split_path: that decodes, and a stored path is not encoded.
    for (std::size_t start = 1; start <= file_path.size();) {
        std::size_t end = file_path.find('/', start);
        if (end == std::string::npos)
            end = file_path.size();
        out += "/" + percent_encode(file_path.substr(start, end - start));
        start = end + 1;
    }
    return out;
}

std::string mime_of(const File &file) {
    static const std::map<std::string, std::string> known{
        {"jpg", "image/jpeg"},      {"png", "image/png"},  {"webp", "image/webp"},       {"gif", "image/gif"},
        {"svg", "image/svg+xml"},   {"avif", "image/avif"}, {"pdf", "application/pdf"}, {"mp4", "video/mp4"},
        {"webm", "video/webm"},     {"mov", "video/quicktime"}, {"js", "text/javascript"}, {"css", "text/css"},
        {"txt", "text/plain"}};
    if (file.extra && !file.extra->mime.empty())
        return file.extra->mime;
    const auto it = known.find(file_format(file.name));
    return it == known.end() ? "" : it->second;
}

void append_item(std::string &out, const Item &item, const Account &account, const Switches &switches) {
    if (item.folder) {
        append_folder(out, *item.folder);
        return;
    }
    const File &file = *item.file;
    const OldVersion *old = item.version;
    const FileExtra *extra = file.extra.get();
    const std::string path = file.path();
    const std::int64_t updated = old ? old->updated_ms : file.updated_ms;
    const std::string version_id = to_hex(old ? old->id : file.version_id);

    std::string url = delivery_url(account, path);
    const std::string plain = url;
    if (old)
        url += "?ik-obj-version=" + version_id.substr(14) + "&updatedAt=" + std::to_string(updated);
    else if (switches.list_url == "updated_at")
        url += "?updatedAt=" + std::to_string(updated);

    out += "{\"type\":";
    append_json_string(out, item_type(item));
    out += ',';
    append_member(out, "name", file.name);
    append_member(out, "createdAt", iso_time(old ? old->created_ms : file.created_ms));
    append_member(out, "updatedAt", iso_time(updated));
    append_member(out, "fileId", old && switches.version_file_id == "different" ? version_id : to_hex(file.id));
    append_raw(out, "tags", extra ? string_list(extra->tags) : "null");
    append_raw(out, "AITags", extra ? ai_tag_list(extra->ai_tags) : "null");
    append_raw(out, "versionInfo", "{\"id\":\"" + version_id + "\",\"name\":\"Version " +
                                       std::to_string(old ? old->number : file.version_number) + "\"}");
    append_raw(out, "embeddedMetadata", extra ? compact_json(extra->embedded_metadata) : "{}");
    append_raw(out, "isPublished", truth(file.is_published));
    if (extra && !extra->custom_coordinates.empty())
        append_member(out, "customCoordinates", extra->custom_coordinates);
    else
        append_raw(out, "customCoordinates", "null");
    append_raw(out, "customMetadata", extra ? compact_json(extra->custom_metadata) : "{}");
    append_raw(out, "isPrivateFile", truth(file.is_private));
    append_member(out, "url", url);
    append_member(out, "thumbnail", url + (url.size() == plain.size() ? "?" : "&") + "tr=n-ik_ml_thumbnail");
    append_member(out, "fileType", file.is_image ? "image" : "non-image");
    append_member(out, "filePath", path);
    if (extra && !extra->description.empty())
        append_member(out, "description", extra->description);
    if (file.is_image) {
        append_raw(out, "height", std::to_string(file.height));
        append_raw(out, "width", std::to_string(file.width));
        append_raw(out, "hasAlpha", truth(extra && extra->transparent));
    }
    const std::string mime = mime_of(file);
    if (!mime.empty())
        append_member(out, "mime", mime);
    append_raw(out, "size", std::to_string(old ? old->size : file.size));
    out.back() = '}';
}

}  // namespace ikemu
