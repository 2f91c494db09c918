// A delete of several files in one call (section 5): what is sent, and what the answer says about each of them.

#ifndef IMAGEKIT_CORE_API_DELETES_H
#define IMAGEKIT_CORE_API_DELETES_H

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/api.h"
#include "core/api_reply.h"

namespace imagekit {

/// What an answer says about one file.
struct FileVerdict {
  Verdict verdict = Verdict::kUndecided;
  bool alone = false;  // kUndecided: only a request of its own can decide it
  std::string words;   // raw, not cleaned
};

/// The files of one delete, each id once.
class Deletion {
 public:
  /// Takes a file in; an id that it has already is sent once for both.
  void Add(const FileToDelete& file);

  const std::vector<FileToDelete>& files() const noexcept { return files_; }
  const std::vector<std::string>& file_ids() const noexcept { return ids_; }
  bool bulk() const noexcept { return ids_.size() > 1; }

  /// What the answer says about each file of files(), in their order. `verdict` and `words` are those of the whole
  /// answer; `bulk_size` is lowered when it says that they were too many.
  std::vector<FileVerdict> Judge(Verdict verdict, const ReplyBody& body, const std::string& words,
                                 int* bulk_size) const;

 private:
  void ReadDeleted(const ReplyBody& body, std::vector<FileVerdict>* by_id) const;
  void ReadMissing(const ReplyBody& body, std::vector<FileVerdict>* by_id) const;
  void ReadRefusal(const ReplyBody& body, std::vector<FileVerdict>* by_id, int* bulk_size) const;

  std::vector<FileToDelete> files_;
  std::vector<std::string> ids_;
  std::unordered_map<std::string, size_t> place_;  // of an id in ids_
};

/// The number in a message like "fileIds cannot have more than 100 items."; 0 when it is beyond all sense, -1 when the
/// message speaks of something else.
int MostItems(const std::string& message) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_DELETES_H
