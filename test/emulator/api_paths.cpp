// Calls that take a path instead of an id: rename, move, copy, make and delete a folder.
#include <cctype>

#include "api.h"

namespace ikemu {

namespace {

Reply no_content() {
    Reply reply;
    reply.status = 204;
    return reply;
}

std::string required(const Json::Value &body, const char *name) {
    if (!body[name].isString() || body[name].asString().empty())
        throw ApiError(400, std::string(name) + " parameter is missing.", "MISSING_PARAMETER");
    return body[name].asString();
}

File *file_at(const Call &call, const std::string &path) {
    const auto [folder, name] = split_file_path(path);
    return call.account.library.find(folder, name);
}

// Source file and target folder of a move or copy, checked as documented.
std::pair<File *, std::string> source_and_target(Call &call, const Json::Value &body) {
    const std::string source = required(body, "sourceFilePath");
    const std::string target = normal_folder(required(body, "destinationPath"));
    File *file = file_at(call, source);
    if (!file)
        throw ApiError(404, "No file found in media library with filePath " + source, "SOURCE_FILE_MISSING");
    if (file->folder->path == target)
        throw ApiError(400, "The source file path and destination path cannot be same.",
                       "SAME_SOURCE_AND_DESTINATION");
    if (target.find('.') != std::string::npos)
        throw ApiError(400, "The destination path is not a valid folder path.", "INVALID_FOLDER_PATH");
    return {file, target};
}

NewFile like(const File &file, const std::string &folder) {
    NewFile out;
    out.folder = folder;
    out.name = file.name;
    out.size = file.size;
    return out;
}

}  // namespace

Reply rename_file(Call &call) {
    const Json::Value body = json_body(call.request);
    const std::string path = required(body, "filePath"), name = required(body, "newFileName");
    File *file = file_at(call, path);
    if (!file)
        throw ApiError(404, "No file found in media library with filePath " + path, "FILE_MISSING");
    if (file->name == name)
        throw ApiError(400, "newFileName is same as the current file name.", "SAME_OLD_AND_NEW_NAME");
    if (name.find('/') != std::string::npos)
        throw ApiError(400, "newFileName is not a valid file name.", "INVALID_PARAMETER");
    if (call.account.library.find(file->folder->path, name))
        throw ApiError(409, "File with name " + name + " already exists at the same location.", "FILE_ALREADY_EXISTS");
    const std::string folder = file->folder->path;
    call.account.library.relocate(file, file->folder, name);

    Json::Value answer(Json::objectValue);
    if (!body["purgeCache"].asBool())
        return json_reply(200, answer);
    const Switches &switches = call.state.switches;
    if (switches.purge_quota != "unlimited" && call.account.purges >= switches.purge_quota_limit)
        throw ApiError(207, "File renamed but its cache could not be purged: the purge API's rate limit is exceeded.",
                       "PURGE_FAILED");
    ++call.account.purges;
    const std::string id = to_hex(next_id());
    call.state.purges[id] = PurgeRequest{call.account.name, join_path(folder, name), call.now};
    answer["purgeRequestId"] = id;
    return json_reply(200, answer);
}

// A file of the same name in the target folder absorbs the moved one as its newest version.
Reply move_file(Call &call) {
    const auto [file, target] = source_and_target(call, json_body(call.request));
    Library &library = call.account.library;
    if (library.find(target, file->name)) {
        library.put(like(*file, target));
        library.remove(file);
    } else {
        library.relocate(file, library.make_folder(target), file->name);
    }
    return no_content();
}

Reply copy_file(Call &call) {
    const auto [file, target] = source_and_target(call, json_body(call.request));
    call.account.library.put(like(*file, target));
    return no_content();
}

Reply create_folder(Call &call) {
    const Json::Value body = json_body(call.request);
    std::string name = required(body, "folderName");
    const std::string parent = normal_folder(required(body, "parentFolderPath"));
    for (char &c : name)
        if (!std::isalnum(static_cast<unsigned char>(c)) && static_cast<unsigned char>(c) < 0x80 && c != '-' &&
            c != '/')
            c = '_';
    call.account.library.make_folder(normal_folder(join_path(parent, name)));
    return json_reply(201, Json::Value(Json::objectValue));
}

Reply delete_folder(Call &call) {
    const std::string path = normal_folder(required(json_body(call.request), "folderPath"));
    Library &library = call.account.library;
    Folder *folder = library.find_folder(path);
    if (!folder || !folder->parent)
        throw ApiError(404, "No folder found with folderPath `" + path + (path == "/" ? "" : "/") + "`.",
                       "FOLDER_NOT_FOUND");
    if (library.nested_items(folder) > 100000)
        throw ApiError(400, "The folder holds too many objects to be deleted.", "TOO_MANY_OBJECTS");
    library.remove_folder(folder);
    return no_content();
}

}  // namespace ikemu
