// Seeding: single files with any attribute, or a million plain ones at once.
#include "control_seed.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "listing.h"
#include "times.h"

namespace ikemu {

namespace {

Account &account_of(Emulator &emulator, const std::string &name) {
    Account *account = emulator.state.accounts.chosen(name);
    if (!account)
        throw std::invalid_argument("no such account: " + name);
    return *account;
}

std::int64_t time_of(const Json::Value &value) {
    if (value.isNull())
        return 0;
    if (value.isNumeric())
        return value.asInt64();
    if (const auto time = parse_time(value.asString()))
        return *time;
    throw std::invalid_argument("not a time: " + value.asString());
}

std::vector<std::string> texts(const Json::Value &list) {
    std::vector<std::string> out;
    for (const Json::Value &item : list)
        out.push_back(item.asString());
    return out;
}

void decorate(File *file, const Json::Value &json) {
    static const std::vector<std::string> known{
        "account",       "filePath", "size",  "createdAt",     "updatedAt",   "fileId",    "fileType",
        "width",         "height",   "tags",  "AITags",        "mime",        "isPrivateFile", "isPublished",
        "customMetadata", "embeddedMetadata", "customCoordinates", "description", "createdBy", "hasAlpha", "versions"};
    for (const std::string &name : json.getMemberNames())
        if (std::find(known.begin(), known.end(), name) == known.end())
            throw std::invalid_argument("unknown field of a file: " + name);
    if (json.isMember("fileType"))
        file->is_image = json["fileType"].asString() == "image";
    file->width = json.get("width", file->width).asInt();
    file->height = json.get("height", file->height).asInt();
    file->is_private = json.get("isPrivateFile", file->is_private).asBool();
    file->is_published = json.get("isPublished", file->is_published).asBool();
    if (json.isMember("tags"))
        file->more().tags = texts(json["tags"]);
    if (json.isMember("AITags"))
        file->more().ai_tags = texts(json["AITags"]);
    if (json["customMetadata"].isObject())
        file->more().custom_metadata = json["customMetadata"];
    if (json["embeddedMetadata"].isObject())
        file->more().embedded_metadata = json["embeddedMetadata"];
    if (json.isMember("mime"))
        file->more().mime = json["mime"].asString();
    if (json.isMember("description"))
        file->more().description = json["description"].asString();
    if (json.isMember("createdBy"))
        file->more().created_by = json["createdBy"].asString();
    if (json.isMember("customCoordinates"))
        file->more().custom_coordinates = json["customCoordinates"].asString();
    if (json.isMember("hasAlpha"))
        file->more().transparent = json["hasAlpha"].asBool();
}

File *seed_one(Account &account, const Json::Value &json) {
    const std::string path = json.isString() ? json.asString() : json["filePath"].asString();
    if (path.size() < 2 || path[0] != '/' || path.back() == '/')
        throw std::invalid_argument("filePath is not a file's path: " + path);
    NewFile what;
    std::tie(what.folder, what.name) = split_file_path(path);
    if (json.isString())
        return account.library.put(what);
    what.size = json.get("size", 1024).asUInt64();
    what.created_ms = time_of(json["createdAt"]);
    what.updated_ms = time_of(json["updatedAt"]);
    if (json.isMember("fileId")) {
        const auto id = parse_id(json["fileId"].asString());
        if (!id || (account.library.find(*id) && account.library.find(*id)->path() != path))
            throw std::invalid_argument("fileId is malformed or taken: " + json["fileId"].asString());
        what.id = *id;
    }
    File *file = account.library.put(what);
    for (int more = json.get("versions", 1).asInt(); more > 1; --more)
        file = account.library.put(what);
    decorate(file, json);
    account.library.touch();
    return file;
}

bool under(const std::string &path, const std::string &prefix) {
    return path.compare(0, prefix.size(), prefix) == 0;
}

std::string text_param(const Request &request, const char *name) {
    const std::string *value = request.param(name);
    return value ? *value : "";
}

}  // namespace

Json::Value seed_files(Emulator &emulator, const Json::Value &body) {
    const Json::Value &files = body.isArray() ? body : body.isMember("files") ? body["files"] : Json::Value::nullSingleton();
    if (!files.isArray())
        throw std::invalid_argument("a list of files is expected, bare or as \"files\"");
    const std::string common = body.isObject() ? body["account"].asString() : "";
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    Json::Value out(Json::objectValue);
    out["fileIds"] = Json::Value(Json::arrayValue);
    out["files"] = Json::Value(Json::arrayValue);
    for (const Json::Value &json : files) {
        Account &account = account_of(emulator, json.isObject() ? json.get("account", common).asString() : common);
        const File *file = seed_one(account, json);
        Json::Value entry(Json::objectValue);
        entry["filePath"] = file->path();
        entry["fileId"] = to_hex(file->id);
        out["fileIds"].append(entry["fileId"]);
        out["files"].append(entry);
    }
    return out;
}

// File i (from `first`) is PREFIX/dDDDD/fNNNNNNN.jpg with D = i modulo folders, or PREFIX/fNNNNNNN.jpg for a single folder. Each is
// created step_ms after the one before: below 1, many share a moment.
Json::Value seed_many(Emulator &emulator, const Json::Value &body) {
    const std::int64_t started = monotonic_ms();
    const std::int64_t count = body["count"].asInt64(), folders = body.get("folders", 1000).asInt64();
    const std::int64_t begin = body.get("first", 0).asInt64();
    if (count < 1 || count > 20000000 || folders < 0 || begin < 0 || begin > 1000000000)
        throw std::invalid_argument("count is 1 to 20000000, folders at least 0, first 0 to 1000000000");
    const std::string prefix = normal_folder(body.get("prefix", "/bulk").asString());
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    Library &library = account_of(emulator, body["account"].asString()).library;
    library.reserve(static_cast<std::size_t>(count));
    library.touch();  // building the default order once beats extending it a million times
    NewFile what;
    what.size = body.get("size", 1024).asUInt64();
    const std::int64_t created_ms = time_of(body["createdAt"]);
    const double step_ms = body.get("step_ms", 0.0).asDouble();
    if (step_ms < 0 || (step_ms > 0 && created_ms == 0))
        throw std::invalid_argument("step_ms is at least 0, and needs a createdAt to begin with");
    std::string first, last;
    for (std::int64_t i = begin; i < begin + count; ++i) {
        what.created_ms = created_ms + static_cast<std::int64_t>(step_ms * static_cast<double>(i - begin));
        char name[32], folder[32];
        std::snprintf(name, sizeof name, "f%07lld.jpg", static_cast<long long>(i));
        what.name = name;
        what.folder = prefix;
        if (folders > 1) {
            std::snprintf(folder, sizeof folder, "d%04lld", static_cast<long long>(i % folders));
            what.folder = join_path(prefix, folder);
        }
        library.put(what);
        if (i == begin)
            first = join_path(what.folder, what.name);
        last = join_path(what.folder, what.name);
    }
    Json::Value out(Json::objectValue);
    out["count"] = static_cast<Json::Int64>(count);
    out["ms"] = static_cast<Json::Int64>(monotonic_ms() - started);
    out["first"] = first;
    out["last"] = last;
    return out;
}

Json::Value remove_files(Emulator &emulator, const Json::Value &body) {
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    Library &library = account_of(emulator, body["account"].asString()).library;
    int removed = 0;
    for (const std::string &path : texts(body["filePaths"])) {
        const auto [folder, name] = split_file_path(path);
        if (File *file = library.find(folder, name)) {
            library.remove(file);
            ++removed;
        }
    }
    Json::Value out(Json::objectValue);
    out["removed"] = removed;
    return out;
}

Json::Value show_files(Emulator &emulator, const Request &request) {
    const std::string prefix = text_param(request, "prefix"), after = text_param(request, "after");
    const std::string limit_text = text_param(request, "limit");
    const std::size_t limit = limit_text.empty() ? 1000 : std::stoul(limit_text);
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    const Account &account = account_of(emulator, text_param(request, "account"));
    std::vector<std::pair<std::string, const File *>> found;
    for (const auto &[folder_path, folder] : account.library.folders()) {
        for (const auto &[name, file] : folder->files) {
            std::string path = file->path();
            if (under(path, prefix) && path > after)
                found.emplace_back(std::move(path), file);
        }
    }
    std::sort(found.begin(), found.end());
    Json::Value out(Json::arrayValue);
    for (const auto &[path, file] : found) {
        if (out.size() >= limit)
            break;
        Json::Value entry(Json::objectValue);
        entry["filePath"] = path;
        entry["fileId"] = to_hex(file->id);
        entry["size"] = static_cast<Json::UInt64>(file->size);
        entry["version"] = file->version_number;
        out.append(entry);
    }
    return out;
}

Json::Value count_files(Emulator &emulator, const Request &request) {
    const std::string prefix = text_param(request, "prefix");
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    const Account &account = account_of(emulator, text_param(request, "account"));
    std::size_t files = 0;
    for (const auto &[folder_path, folder] : account.library.folders()) {
        const std::string lead = folder_path == "/" ? "/" : folder_path + "/";
        if (under(lead, prefix)) {
            files += folder->files.size();
        } else if (under(prefix, lead)) {
            for (const auto &[name, file] : folder->files)
                files += under(lead + file->name, prefix) ? 1 : 0;
        }
    }
    Json::Value out(Json::objectValue);
    out["count"] = static_cast<Json::UInt64>(files);
    out["folders"] = static_cast<Json::UInt64>(account.library.folders().size() - 1);
    return out;
}

}  // namespace ikemu
