// Plans and runs a list or search. The plan only narrows the candidates; every candidate is still tested in full.
#include "listing.h"

#include <algorithm>
#include <limits>

namespace ikemu {

namespace {

// What the AND-ed terms of a query pin down.
struct Pinned {
    const SearchTerm *names = nullptr;
    const SearchTerm *ids = nullptr;
    const SearchTerm *path = nullptr;
    double created_from = 0, created_to = std::numeric_limits<double>::infinity();  // ms, both included
};

void find_pinned(const SearchNode &node, Pinned &out) {
    if (node.kind == SearchNode::Kind::all) {
        for (const SearchNode &child : node.children)
            find_pinned(child, out);
    } else if (node.kind == SearchNode::Kind::term) {
        const SearchTerm &term = node.term;
        const bool exact = term.op == Op::equal || term.op == Op::in;
        if (exact && term.field == Field::name)
            out.names = &term;
        if (exact && term.field == Field::id)
            out.ids = &term;
        if (exact && term.field == Field::path && term.values.size() == 1)
            out.path = &term;
        if (term.field == Field::created_at && term.values.size() == 1) {
            if (term.op == Op::greater || term.op == Op::greater_equal)
                out.created_from = std::max(out.created_from, term.values[0].number);
            if (term.op == Op::less || term.op == Op::less_equal)
                out.created_to = std::min(out.created_to, term.values[0].number);
        }
    }
}

bool is_type_file(const SearchNode &node) {
    return node.kind == SearchNode::Kind::term && node.term.field == Field::type && node.term.op == Op::equal &&
           node.term.values[0].text == "file";
}

class Listing {
  public:
    Listing(Library &library, const ListRequest &request) : library_(library), request_(request) {}

    std::vector<Item> run() {
        if (request_.folders)
            add_folders();
        if (request_.files || request_.versions)
            add_files();
        std::vector<Item> out = std::move(folders_);
        out.insert(out.end(), files_.begin(), files_.end());
        out.insert(out.end(), versions_.begin(), versions_.end());
        const std::size_t skip = std::min(request_.skip - skipped_, out.size());
        out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(skip));
        if (out.size() > request_.limit)
            out.resize(request_.limit);
        return out;
    }

  private:
    bool indexed(const File *file) const {
        if (request_.delay_new > 0 && file->indexed_ms + request_.delay_new > request_.now)
            return false;
        return file->deleted_ms == 0 || indexed_deleted(file);
    }

    bool indexed_deleted(const File *file) const {
        return file->deleted_ms + request_.delay_deleted > request_.now;
    }

    bool fits(const Item &item) const {
        const std::string &folder = item.file            ? item.file->folder->path
                                    : item.folder->parent ? item.folder->parent->path
                                                          : item.folder->path;
        if (request_.folder && folder != *request_.folder)
            return false;
        if (request_.name && *request_.name != (item.file ? item.file->name : item.folder->name))
            return false;
        if (request_.images && (!item.file || item.file->is_image != *request_.images))
            return false;
        if (!request_.tags.empty()) {
            if (!item.file || !item.file->extra)
                return false;
            const auto &have = item.file->extra->tags;
            if (std::none_of(request_.tags.begin(), request_.tags.end(), [&](const std::string &tag) {
                    return std::find(have.begin(), have.end(), tag) != have.end();
                }))
                return false;
        }
        return !request_.query || search_matches(*request_.query, item);
    }

    void add_folders() {
        std::vector<const Folder *> found;
        for (const auto &[path, folder] : library_.folders())
            if (folder->parent && fits(Item{nullptr, nullptr, folder.get()}))
                found.push_back(folder.get());
        std::sort(found.begin(), found.end(), [&](const Folder *a, const Folder *b) {
            if (request_.descending)
                std::swap(a, b);
            if (request_.sort == SortKey::created && a->created_ms != b->created_ms)
                return a->created_ms < b->created_ms;
            if (request_.sort == SortKey::updated && a->updated_ms != b->updated_ms)
                return a->updated_ms < b->updated_ms;
            return a->path < b->path;
        });
        for (const Folder *folder : found)
            folders_.push_back(Item{nullptr, nullptr, folder});
    }

    void add_files() {
        std::vector<File *> few;
        if (narrow(few)) {
            const auto &dead = library_.graveyard();  // in order of deletion
            for (auto it = dead.rbegin(); it != dead.rend() && indexed_deleted(it->get()); ++it)
                few.push_back(it->get());
            std::sort(few.begin(), few.end());  // a name asked for twice is found twice
            few.erase(std::unique(few.begin(), few.end()), few.end());
            std::sort(few.begin(), few.end(), [&](const File *a, const File *b) {
                return request_.descending ? file_before(request_.sort, b, a) : file_before(request_.sort, a, b);
            });
            for (const File *file : few)
                consider(file);
            return;
        }
        scan(library_.ordered(request_.sort));
    }

    // Candidates from an index; false when nothing in the request allows one.
    bool narrow(std::vector<File *> &out) const {
        Pinned pinned;
        if (request_.query)
            find_pinned(*request_.query, pinned);
        if (pinned.ids) {
            for (const SearchValue &value : pinned.ids->values)
                if (const auto id = parse_id(value.text))
                    if (File *file = library_.find(*id))
                        out.push_back(file);
            return true;
        }
        std::vector<std::string> names;
        if (pinned.names)
            for (const SearchValue &value : pinned.names->values)
                names.push_back(value.text);
        else if (request_.name)
            names.push_back(*request_.name);

        const Folder *folder = nullptr;
        if (request_.folder || pinned.path) {
            folder = library_.find_folder(request_.folder ? *request_.folder : pinned.path->values[0].text);
            if (!folder)
                return true;
        }
        if (folder && names.empty()) {
            // In a very large folder a walk over a kept order beats sorting its files for every page.
            if (folder->files.size() > 4000)
                return false;
            for (const auto &[name, file] : folder->files)
                out.push_back(file);
            return true;
        }
        if (names.empty())
            return false;
        for (const std::string &name : names) {
            if (!folder) {
                const std::vector<File *> named = library_.named(name);
                out.insert(out.end(), named.begin(), named.end());
            } else if (const auto it = folder->files.find(name); it != folder->files.end()) {
                out.push_back(it->second);
            }
        }
        return true;
    }

    void scan(const std::vector<File *> &order) {
        std::size_t start = 0;
        const bool everything = !request_.folders && !request_.versions && !request_.folder && !request_.name &&
                                !request_.images && request_.tags.empty() &&
                                (!request_.query || is_type_file(*request_.query)) && library_.graveyard().empty() &&
                                request_.delay_new == 0;
        if (everything)  // deep pages of the whole library: no need to walk there
            start = skipped_ = std::min(request_.skip, order.size());
        std::size_t end = order.size();
        if (request_.sort == SortKey::created && !request_.descending && request_.query) {
            Pinned pinned;
            find_pinned(*request_.query, pinned);
            const auto first = std::partition_point(order.begin(), order.end(), [&](const File *file) {
                return static_cast<double>(file->created_ms) < pinned.created_from;
            });
            const auto last = std::partition_point(first, order.end(), [&](const File *file) {
                return static_cast<double>(file->created_ms) <= pinned.created_to;
            });
            start = std::max(start, static_cast<std::size_t>(first - order.begin()));
            end = static_cast<std::size_t>(last - order.begin());
        }
        for (std::size_t i = start; i < end && !full(); ++i)
            consider(request_.descending ? order[order.size() - 1 - i] : order[i]);
    }

    bool full() const {
        return !request_.versions && folders_.size() + files_.size() >= request_.skip - skipped_ + request_.limit;
    }

    void consider(const File *file) {
        if (!indexed(file))
            return;
        if (request_.files && fits(Item{file, nullptr, nullptr}))
            files_.push_back(Item{file, nullptr, nullptr});
        if (request_.versions && file->extra)
            for (const OldVersion &version : file->extra->versions)
                if (fits(Item{file, &version, nullptr}))
                    versions_.push_back(Item{file, &version, nullptr});
    }

    Library &library_;
    const ListRequest &request_;
    std::vector<Item> folders_, files_, versions_;
    std::size_t skipped_ = 0;
};

}  // namespace

std::vector<Item> list_items(Library &library, const ListRequest &request) {
    return Listing(library, request).run();
}

}  // namespace ikemu
