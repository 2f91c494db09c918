// Reads the bodies of answers. They come from outside and may be anything: random bytes, a terabyte's worth of
// brackets, another host's JSON.

#ifndef IMAGEKIT_CORE_API_REPLY_H
#define IMAGEKIT_CORE_API_REPLY_H

#include <string>
#include <vector>

#include "core/api.h"
#include "core/taxonomy.h"

namespace imagekit {

/// A member of an object that should be a list of fileIds.
struct IdList {
  enum class State { kAbsent, kMalformed, kRead };
  State state = State::kAbsent;  // null counts as absent; anything but an array of strings is malformed
  std::vector<std::string> ids;  // kRead; not checked
};

/// One of a bulk delete's `errors`.
struct FailedFile {
  std::string file_id;
  std::string error;  // raw, not cleaned; empty when it is no text
};

/// What a body holds.
struct ReplyBody {
  BodyKind kind = BodyKind::kEmpty;
  std::string message;       // kMessage: ImageKit's words; kText: the whole body; raw, not cleaned
  bool well_shaped = false;  // kArray: every entry is an object as section 2.3 describes it
  size_t entries = 0;        // kArray: of any type
  std::string first_entry;   // kArray, well_shaped: ids of the first and last entry, of whatever type
  std::string last_entry;
  std::vector<FoundFile> files;  // kArray, well_shaped: the entries of type "file"; file_id is not checked yet

  // kMessage, kJson: what the answer to a bulk delete lists (section 5).
  IdList deleted;                  // successfullyDeletedFileIds
  IdList missing;                  // missingFileIds
  AccountUsage usage;              // section 7
  bool has_errors = false;         // `errors` is an array
  std::vector<FailedFile> failed;  // those entries of it that name a file
};

/// Throws nothing but std::bad_alloc. JSON is read strictly: a duplicate key, a trailing comma, text behind the end,
/// deep nesting or a flood of values make it no JSON.
ReplyBody ReadBody(const std::string& body, const std::string& content_type);

/// The answer to the question for any one file: kFound with the file, without its id; kNotFound from an empty library.
Verdict ReadProbe(const ReplyBody& body, FoundFile* file);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_REPLY_H
