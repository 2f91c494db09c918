// Upload, as far as tests and the demo need it: the size of the sent file is kept, its content is not.
#include <algorithm>
#include <cctype>
#include <random>

#include "api.h"
#include "item_json.h"

namespace ikemu {

namespace {

const FormPart *part(const Call &call, const char *name) {
    for (const FormPart &candidate : call.request.form)
        if (candidate.name == name)
            return &candidate;
    return nullptr;
}

std::string text_part(const Call &call, const char *name, const std::string &standard) {
    const FormPart *found = part(call, name);
    return found && !found->content.empty() ? found->content : standard;
}

bool flag_part(const Call &call, const char *name, bool standard) {
    return text_part(call, name, standard ? "true" : "false") == "true";
}

// Whatever is not a letter, a digit or one of `kept` becomes "_". Letters beyond ASCII stay.
std::string sanitised(std::string text, const std::string &kept) {
    for (char &c : text) {
        const unsigned char u = static_cast<unsigned char>(c);
        if (!std::isalnum(u) && u < 0x80 && kept.find(c) == std::string::npos)
            c = '_';
    }
    return text;
}

std::string with_suffix(const std::string &name) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    static thread_local std::mt19937 random{std::random_device{}()};
    std::string suffix = "_";
    for (int i = 0; i < 9; ++i)
        suffix += alphabet[random() % 64];
    const std::size_t dot = name.rfind('.');
    return dot == std::string::npos ? name + suffix : name.substr(0, dot) + suffix + name.substr(dot);
}

std::vector<std::string> comma_list(const std::string &text) {
    std::vector<std::string> out;
    std::size_t start = 0;
    while (start < text.size()) {
        const std::size_t end = std::min(text.find(',', start), text.size());
        if (end > start)
            out.push_back(text.substr(start, end - start));
        start = end + 1;
    }
    return out;
}

}  // namespace

Reply upload_file(Call &call) {
    const FormPart *file_part = part(call, "file");
    if (!file_part || file_part->content.empty())
        throw ApiError(400, "Your request is missing the file parameter.");
    const std::string asked = text_part(call, "fileName", "");
    if (asked.empty())
        throw ApiError(400, "Your request is missing the fileName parameter.");
    NewFile what;
    what.folder = normal_folder(sanitised(text_part(call, "folder", "/"), "/_-"));
    what.name = sanitised(asked, "._-");
    what.size = file_part->content.size();
    if (flag_part(call, "useUniqueFileName", true))
        what.name = with_suffix(what.name);
    Library &library = call.account.library;
    if (!flag_part(call, "overwriteFile", true) && library.find(what.folder, what.name))
        throw ApiError(400, "A file with the same name already exists at the exact location.");
    File *file = library.put(what);
    file->is_private = flag_part(call, "isPrivateFile", false);
    const std::string tags = text_part(call, "tags", "");
    if (!tags.empty())
        file->more().tags = comma_list(tags);

    const std::string path = file->path(), url = delivery_url(call.account, path);
    Json::Value answer(Json::objectValue);
    answer["fileId"] = to_hex(file->id);
    answer["name"] = file->name;
    answer["size"] = static_cast<Json::UInt64>(file->size);
    answer["versionInfo"]["id"] = to_hex(file->version_id);
    answer["versionInfo"]["name"] = "Version " + std::to_string(file->version_number);
    answer["filePath"] = path;
    answer["url"] = url;
    answer["fileType"] = file->is_image ? "image" : "non-image";
    if (file->is_image) {
        answer["height"] = file->height;
        answer["width"] = file->width;
    }
    const std::string root = "https://ik.imagekit.io/" + call.account.name;
    answer["thumbnailUrl"] = root + "/tr:n-ik_ml_thumbnail" + url.substr(root.size());
    answer["tags"] = Json::Value();
    for (const std::string &tag : comma_list(tags))
        answer["tags"].append(tag);
    answer["AITags"] = Json::Value();
    return json_reply(200, answer);
}

}  // namespace ikemu
