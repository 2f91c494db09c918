// The media library of one account: files with their versions, folders, and the indexes that keep a look-up quick when
// there are a million files. Paths are "/" or "/a/b" for folders (no trailing slash) and "/a/b/name" for files.
//
// Not thread-safe: the emulator holds one lock around every use. Pointers to files stay good until the next call that
// changes the library.
#pragma once

#include <json/json.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "file_id.h"

namespace ikemu {

struct Folder;

// A version that is no longer the current one.
struct OldVersion {
    FileId id;
    int number = 1;
    std::uint64_t size = 0;
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
};

// What most files do not have: kept apart so that a million plain files stay small.
struct FileExtra {
    std::vector<std::string> tags;
    std::vector<std::string> ai_tags;
    Json::Value custom_metadata{Json::objectValue};
    Json::Value embedded_metadata{Json::objectValue};
    std::string mime;
    std::string description;
    std::string created_by;
    std::string custom_coordinates;
    bool transparent = false;
    std::vector<OldVersion> versions;  // newest first
};

struct File {
    FileId id;
    FileId version_id;  // the same as `id` for the first version
    int version_number = 1;
    int width = 1200;
    int height = 800;
    bool is_image = true;
    bool is_private = false;
    bool is_published = true;
    std::uint64_t size = 0;
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
    std::int64_t indexed_ms = 0;  // when the search index came to know of it
    std::int64_t deleted_ms = 0;  // 0 while it lives
    Folder *folder = nullptr;
    std::string name;
    std::unique_ptr<FileExtra> extra;

    FileExtra &more();
    std::string path() const;
};

struct Folder {
    FileId id;
    std::string path;
    std::string name;
    Folder *parent = nullptr;
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
    std::unordered_map<std::string_view, File *> files;  // keys point into File::name
    std::map<std::string, Folder *> folders;
};

enum class SortKey { name, created, updated, height, width, size };

// What an upload or a seed says of a file; zero and empty mean "as usual".
struct NewFile {
    std::string folder;  // normalised
    std::string name;
    std::uint64_t size = 1024;
    std::int64_t created_ms = 0;
    std::int64_t updated_ms = 0;
    FileId id;  // zero: a fresh one
};

std::string normal_folder(const std::string &path);  // "a//b/" -> "/a/b", "" -> "/"
std::string join_path(const std::string &folder, const std::string &name);
// "/a/b.jpg" -> "/a", "b.jpg"
std::pair<std::string, std::string> split_file_path(const std::string &path);

class Library {
  public:
    Library();

    // Adds a file, or a new version of the file at that path (same id). Folders come into being as needed.
    File *put(const NewFile &what);
    File *find(const FileId &id) const;
    File *find(const std::string &folder, const std::string &name) const;
    Folder *find_folder(const std::string &path) const;
    Folder *make_folder(const std::string &path);

    // The file goes from the library at once; the search index keeps it for as long as the index delay says.
    void remove(File *file);
    void remove_folder(Folder *folder);
    std::size_t nested_items(const Folder *folder) const;
    // Moves and renames: the file keeps its id. The target must be free.
    void relocate(File *file, Folder *folder, const std::string &name);

    // The files of that name, in whatever folders.
    std::vector<File *> named(const std::string &name) const;

    // All files in ascending order of a key, the deleted ones that the index may still show among them.
    const std::vector<File *> &ordered(SortKey key);
    // Files deleted lately, for look-ups by name while an index delay is set.
    const std::vector<std::unique_ptr<File>> &graveyard() const { return graveyard_; }
    const std::unordered_map<std::string, std::unique_ptr<Folder>> &folders() const { return folders_; }
    std::size_t size() const { return files_.size(); }
    void reserve(std::size_t count);
    // A sort key of some file changed in place.
    void touch() { orders_.clear(); }
    // Deleted files are forgotten once they are older than this.
    void set_linger(std::int64_t ms) { linger_ms_ = ms; }

  private:
    void enter(File *file);  // into the indexes by name
    void leave(File *file);
    void bury(std::unique_ptr<File> file);

    std::unordered_map<FileId, std::unique_ptr<File>, FileIdHash> files_;
    std::unordered_map<std::string, std::unique_ptr<Folder>> folders_;
    std::unordered_multimap<std::string_view, File *> by_name_;  // each key points into its own File::name
    std::vector<std::unique_ptr<File>> graveyard_;
    std::map<SortKey, std::vector<File *>> orders_;
    std::int64_t linger_ms_ = 0;
};

// Is `a` before `b`? Equal keys are told apart by id, so that paging is stable.
bool file_before(SortKey key, const File *a, const File *b);
// "jpg" for a name ending .jpeg or .jpg; lower case; empty without an extension.
std::string file_format(const std::string &name);
bool is_image_format(const std::string &format);

}  // namespace ikemu
