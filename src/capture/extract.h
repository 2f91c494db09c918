// From a column's value to the URLs in it.

#ifndef IMAGEKIT_CAPTURE_EXTRACT_H
#define IMAGEKIT_CAPTURE_EXTRACT_H

#include <string_view>

#include "capture/source.h"

namespace imagekit::capture {

/// What becomes of a value that cannot be searched: a WARNING where nothing may fail, an error for whoever needs proof, a
/// mark for whoever does either later.
enum class Unreadable { kWarn, kRaise, kMark };

/// Takes URLs one by one, of any host; the views are good during the call only. file_id is empty when the row held none.
struct UrlSink {
  void (*take)(UrlSink *self, std::string_view url, std::string_view file_id);
  Unreadable if_unreadable = Unreadable::kWarn;
  bool unreadable = false;  // kMark: there was one
};

/// All URLs in a value that is not NULL. Unless the sink says kRaise, never fails for what the value holds. Detoasts it, so
/// it allocates in the current context.
void ExtractUrls(Datum value, ColumnKind kind, const SourcePath &path, std::string_view file_id, UrlSink *sink);

// The kinds' own parts.
void ExtractFromText(std::string_view text, std::string_view file_id, UrlSink *sink);
void ExtractFromJsonb(Jsonb *document, const SourcePath &path, UrlSink *sink);
void ExtractFromJson(text *document, const SourcePath &path, UrlSink *sink);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_EXTRACT_H
