// Files as values name them that are no URLs: by the library path ("/folder/a.jpg", with the slash or without), or by the
// fileId. Applications that put the endpoint in front themselves store these.

#ifndef IMAGEKIT_CORE_FILE_NAMES_H
#define IMAGEKIT_CORE_FILE_NAMES_H

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/mention.h"

namespace imagekit {

/// A set of files of any number of accounts; 32 bytes a file.
class FileNames {
 public:
  void Add(int account, std::string_view path, std::string_view file_id);

  /// Once all have been added.
  void Sort();

  /// The account of a file that the value as a whole names, or kNoAccount. White space around it, a query or a fragment behind
  /// it and percent escapes are allowed for. A false one of a million values has a probability of 1 to 10^7 for a million files.
  int Find(std::string_view value) const;

  bool empty() const noexcept { return names_.empty(); }

 private:
  struct Name {
    uint64_t hash;
    int account;
  };
  int FindExactly(std::string_view name) const noexcept;
  std::vector<Name> names_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_FILE_NAMES_H
