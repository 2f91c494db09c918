// Look-ups that wait for a search in their folder.

#ifndef IMAGEKIT_CORE_FOLDER_QUEUE_H
#define IMAGEKIT_CORE_FOLDER_QUEUE_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/url.h"

namespace imagekit {

/// One file looked for.
struct LookUp {
  uint64_t ticket = 0;
  LibraryPath path;
  std::string known_id;         // empty: none, or none that may still be asked for
  int most_together = 1 << 20;  // files that may share its search, itself included
  size_t target = 0;            // its place in Search::paths
};

/// Files by their folder, first come, first served.
class FolderQueue {
 public:
  bool empty() const noexcept { return order_.empty(); }
  void Push(LookUp file);
  const std::string& first_folder() const { return order_.front(); }
  /// Takes files of the first folder, at least one, while `fits` says so; what is left of the folder goes to the end.
  std::vector<LookUp> Take(const std::function<bool(const LookUp&)>& fits);
  std::vector<LookUp> TakeAll(const std::string& folder);
  std::vector<LookUp> TakeAll();
  void Clear() noexcept;

 private:
  std::deque<std::string> order_;
  std::unordered_map<std::string, std::deque<LookUp>> files_;  // none is empty
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_FOLDER_QUEUE_H
