// The media library: storage, the indexes (id; folder and name; name alone), and the cached orders that paging walks.
#include "library.h"

#include <algorithm>
#include <set>

#include "times.h"

namespace ikemu {

std::string normal_folder(const std::string &path) {
    std::string out;
    std::size_t start = 0;
    while (start < path.size()) {
        std::size_t end = path.find('/', start);
        if (end == std::string::npos)
            end = path.size();
        if (end > start)
            out += "/" + path.substr(start, end - start);
        start = end + 1;
    }
    return out.empty() ? "/" : out;
}

std::string join_path(const std::string &folder, const std::string &name) {
    return folder == "/" ? "/" + name : folder + "/" + name;
}

std::pair<std::string, std::string> split_file_path(const std::string &path) {
    const std::string whole = normal_folder(path);
    const std::size_t slash = whole.rfind('/');
    return {slash == 0 ? "/" : whole.substr(0, slash), whole.substr(slash + 1)};
}

std::string file_format(const std::string &name) {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos || dot + 1 == name.size())
        return "";
    std::string out = name.substr(dot + 1);
    for (char &c : out)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return out == "jpeg" ? "jpg" : out;
}

bool is_image_format(const std::string &format) {
    static const std::set<std::string> known{"jpg", "png", "webp", "gif", "svg", "avif", "bmp", "tiff", "heic", "ico"};
    return known.count(format) > 0;
}

FileExtra &File::more() {
    if (!extra)
        extra = std::make_unique<FileExtra>();
    return *extra;
}

std::string File::path() const {
    return join_path(folder->path, name);
}

Library::Library() {
    auto root = std::make_unique<Folder>();
    root->path = "/";
    root->id = next_id();
    root->created_ms = root->updated_ms = service_ms();
    folders_.emplace("/", std::move(root));
}

void Library::reserve(std::size_t count) {
    files_.reserve(files_.size() + count);
    by_name_.reserve(by_name_.size() + count);
}

Folder *Library::find_folder(const std::string &path) const {
    const auto it = folders_.find(path);
    return it == folders_.end() ? nullptr : it->second.get();
}

Folder *Library::make_folder(const std::string &path) {
    if (Folder *known = find_folder(path))
        return known;
    const auto [parent_path, name] = split_file_path(path);
    Folder *parent = make_folder(parent_path);
    auto folder = std::make_unique<Folder>();
    folder->id = next_id();
    folder->path = path;
    folder->name = name;
    folder->parent = parent;
    folder->created_ms = folder->updated_ms = service_ms();
    Folder *made = folder.get();
    parent->folders[name] = made;
    folders_.emplace(path, std::move(folder));
    return made;
}

File *Library::find(const FileId &id) const {
    const auto it = files_.find(id);
    return it == files_.end() ? nullptr : it->second.get();
}

File *Library::find(const std::string &folder, const std::string &name) const {
    const Folder *where = find_folder(folder);
    if (!where)
        return nullptr;
    const auto it = where->files.find(name);
    return it == where->files.end() ? nullptr : it->second;
}

File *Library::put(const NewFile &what) {
    const std::int64_t now = service_ms();
    Folder *folder = make_folder(what.folder);
    const auto existing = folder->files.find(what.name);
    if (existing != folder->files.end()) {
        File *file = existing->second;
        OldVersion old;
        old.id = file->version_id;
        old.number = file->version_number;
        old.size = file->size;
        old.created_ms = old.updated_ms = file->updated_ms;
        file->more().versions.insert(file->more().versions.begin(), old);
        file->version_id = next_id();
        file->version_number += 1;
        file->size = what.size;
        file->updated_ms = what.updated_ms ? what.updated_ms : now;
        touch();
        return file;
    }
    auto file = std::make_unique<File>();
    file->id = what.id == FileId() ? next_id() : what.id;
    file->version_id = file->id;
    file->name = what.name;
    file->folder = folder;
    file->size = what.size;
    file->created_ms = what.created_ms ? what.created_ms : now;
    file->updated_ms = what.updated_ms ? what.updated_ms : file->created_ms;
    file->indexed_ms = wall_ms();
    file->is_image = is_image_format(file_format(what.name));
    File *made = file.get();
    enter(made);
    files_.emplace(made->id, std::move(file));

    // Files mostly arrive in order of creation: the order that the list uses by default is then kept, not made anew.
    for (auto it = orders_.begin(); it != orders_.end();) {
        if (it->second.empty() || file_before(it->first, it->second.back(), made)) {
            it->second.push_back(made);
            ++it;
        } else {
            it = orders_.erase(it);
        }
    }
    return made;
}

std::vector<File *> Library::named(const std::string &name) const {
    std::vector<File *> out;
    const auto [first, last] = by_name_.equal_range(name);
    for (auto it = first; it != last; ++it)
        out.push_back(it->second);
    return out;
}

void Library::enter(File *file) {
    file->folder->files.emplace(std::string_view(file->name), file);
    by_name_.emplace(std::string_view(file->name), file);
}

void Library::leave(File *file) {
    file->folder->files.erase(std::string_view(file->name));
    const auto [first, last] = by_name_.equal_range(std::string_view(file->name));
    by_name_.erase(std::find_if(first, last, [file](const auto &entry) { return entry.second == file; }));
}

void Library::remove(File *file) {
    leave(file);
    file->deleted_ms = wall_ms();
    const auto it = files_.find(file->id);
    std::unique_ptr<File> owned = std::move(it->second);
    files_.erase(it);
    bury(std::move(owned));
}

// The orders hold plain pointers, so a deleted file is kept until they are made anew. That happens when the dead have
// become many; until then walking an order merely skips them.
void Library::bury(std::unique_ptr<File> file) {
    graveyard_.push_back(std::move(file));
    if (graveyard_.size() < 20000 + files_.size() / 4)
        return;
    const std::int64_t horizon = wall_ms() - linger_ms_;
    orders_.clear();
    graveyard_.erase(std::remove_if(graveyard_.begin(), graveyard_.end(),
                                    [&](const std::unique_ptr<File> &f) { return f->deleted_ms < horizon; }),
                     graveyard_.end());
}

std::size_t Library::nested_items(const Folder *folder) const {
    std::size_t count = folder->files.size() + folder->folders.size();
    for (const auto &[name, child] : folder->folders)
        count += nested_items(child);
    return count;
}

void Library::remove_folder(Folder *folder) {
    while (!folder->folders.empty())
        remove_folder(folder->folders.begin()->second);
    // The dead keep a pointer to their folder, which goes now: they have to go first.
    while (!folder->files.empty())
        remove(folder->files.begin()->second);
    orders_.clear();
    graveyard_.erase(std::remove_if(graveyard_.begin(), graveyard_.end(),
                                    [&](const std::unique_ptr<File> &f) { return f->folder == folder; }),
                     graveyard_.end());
    if (folder->parent) {
        folder->parent->folders.erase(folder->name);
        folders_.erase(folder->path);
    }
}

void Library::relocate(File *file, Folder *folder, const std::string &name) {
    if (linger_ms_ > 0) {  // the index goes on showing the old place for a while
        auto ghost = std::make_unique<File>();
        ghost->id = file->id;
        ghost->version_id = file->version_id;
        ghost->version_number = file->version_number;
        ghost->is_image = file->is_image;
        ghost->size = file->size;
        ghost->created_ms = file->created_ms;
        ghost->updated_ms = file->updated_ms;
        ghost->folder = file->folder;
        ghost->name = file->name;
        ghost->deleted_ms = wall_ms();
        graveyard_.push_back(std::move(ghost));
    }
    leave(file);
    file->folder = folder;
    file->name = name;
    file->indexed_ms = wall_ms();
    file->updated_ms = file->indexed_ms;
    enter(file);
    touch();
}

bool file_before(SortKey key, const File *a, const File *b) {
    auto settle = [&](auto x, auto y) {
        if (x != y)
            return x < y;
        return a->id.high != b->id.high ? a->id.high < b->id.high : a->id.low < b->id.low;
    };
    switch (key) {
        case SortKey::name: {
            const int order = a->name.compare(b->name);
            return settle(order, 0);
        }
        case SortKey::created:
            return settle(a->created_ms, b->created_ms);
        case SortKey::updated:
            return settle(a->updated_ms, b->updated_ms);
        case SortKey::height:
            return settle(a->height, b->height);
        case SortKey::width:
            return settle(a->width, b->width);
        case SortKey::size:
            return settle(a->size, b->size);
    }
    return false;
}

const std::vector<File *> &Library::ordered(SortKey key) {
    const auto cached = orders_.find(key);
    if (cached != orders_.end())
        return cached->second;
    std::vector<File *> order;
    order.reserve(files_.size() + graveyard_.size());
    for (const auto &[id, file] : files_)
        order.push_back(file.get());
    for (const auto &file : graveyard_)
        order.push_back(file.get());
    std::sort(order.begin(), order.end(), [key](const File *a, const File *b) { return file_before(key, a, b); });
    return orders_[key] = std::move(order);
}

}  // namespace ikemu
