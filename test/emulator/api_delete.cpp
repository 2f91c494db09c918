// Deleting calls: one file, one version, many files. Folders are in api_paths.cpp.
#include <set>

#include "api.h"

namespace ikemu {

namespace {

Reply no_content() {
    Reply reply;
    reply.status = 204;
    return reply;
}

Json::Value text_list(const std::vector<std::string> &items) {
    Json::Value out(Json::arrayValue);
    for (const std::string &item : items)
        out.append(item);
    return out;
}

// The ids asked for, checked as the API checks them.
std::vector<std::string> asked_ids(Call &call) {
    const Json::Value body = json_body(call.request);
    const int limit = call.state.switches.bulk_limit;
    if (!body.isMember("fileIds") || body["fileIds"].isNull())
        throw ApiError(400, "fileIds parameter is missing.");
    const Json::Value &ids = body["fileIds"];
    if (!ids.isArray())
        throw ApiError(400, "fileIds should be an Array.");
    if (ids.empty())
        throw ApiError(400, "fileIds is empty.");
    if (static_cast<int>(ids.size()) > limit)
        throw ApiError(400, "fileIds cannot have more than " + std::to_string(limit) + " items.");
    std::vector<std::string> out;
    std::set<std::string> seen;  // an id given twice counts once
    for (const Json::Value &id : ids) {
        if (!id.isString() || !parse_id(id.asString()))
            throw ApiError(400, "Your request contains invalid fileId parameter.");
        if (seen.insert(id.asString()).second)
            out.push_back(id.asString());
    }
    return out;
}

}  // namespace

Reply delete_file(Call &call) {
    call.account.library.remove(file_of(call, call.args[0]));
    call.removed.push_back(call.args[0]);
    return no_content();
}

Reply delete_version(Call &call) {
    File *file = file_of(call, call.args[0]);
    const auto id = parse_id(call.args[1]);
    if (!id)
        throw ApiError(400, "Your request contains invalid versionId parameter.");
    if (*id == file->version_id)
        throw ApiError(400, "You cannot delete current version of a file.");
    if (file->extra) {
        auto &versions = file->extra->versions;
        for (auto it = versions.begin(); it != versions.end(); ++it) {
            if (it->id == *id) {
                versions.erase(it);
                return no_content();
            }
        }
    }
    throw ApiError(404, "The requested asset does not exist.");
}

Reply bulk_delete(Call &call) {
    const Switches &switches = call.state.switches;
    Library &library = call.account.library;
    std::vector<std::string> found, missing;
    for (const std::string &id : asked_ids(call))
        (library.find(*parse_id(id)) ? found : missing).push_back(id);

    if (!missing.empty() && switches.bulk_404 == "atomic")
        found.clear();
    std::string left_out;
    if (missing.empty() && switches.bulk_omit != "off" && found.size() > 1) {
        left_out = found.back();
        if (switches.bulk_omit == "on")
            found.pop_back();
    }
    std::vector<std::string> done;
    Json::Value errors(Json::arrayValue);
    for (const std::string &id : found) {
        File *file = library.find(*parse_id(id));
        if (switches.bulk_207_ids.count(id) || switches.bulk_207_ids.count(file->path())) {
            Json::Value error(Json::objectValue);
            error["fileId"] = id;
            error["error"] = switches.bulk_207_error;
            errors.append(error);
            continue;
        }
        library.remove(file);
        call.removed.push_back(id);
        if (id != left_out)
            done.push_back(id);
    }
    if (!missing.empty()) {
        ApiError error(404, "The requested file(s) does not exist.");
        error.extra["missingFileIds"] = text_list(missing);
        throw error;
    }
    Json::Value body(Json::objectValue);
    body["successfullyDeletedFileIds"] = text_list(done);
    if (errors.empty())
        return json_reply(200, body);
    body["errors"] = errors;
    return json_reply(207, body);
}

}  // namespace ikemu
