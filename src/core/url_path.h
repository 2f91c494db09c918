// The grammar of the path below an endpoint: `tr:` segments, `ik-seo`, derived suffixes, names (section 9.2 to 9.7).
//
// Private to the url*.cpp and endpoint*.cpp files. One piece of code takes a path apart for EndpointMap::Read, which
// is strict, and for UrlKey, which must always have an answer: so the two cannot drift apart.

#ifndef IMAGEKIT_CORE_URL_PATH_H
#define IMAGEKIT_CORE_URL_PATH_H

#include <string>
#include <string_view>
#include <vector>

#include "core/url.h"

namespace imagekit {

/// A path below an endpoint, taken apart. `segments` and `extension` are filled as well as possible also when the path
/// is refused or skipped: UrlKey needs the most likely name even then.
struct PathParts {
  UrlClass kind = UrlClass::kLibraryFile;  // or kSkipped, kRefused
  const char* reason = "";                 // kSkipped and kRefused
  // Still encoded, without transformations and suffixes: the folders and, last, the name (with ik-seo: its stem).
  std::vector<std::string_view> segments;
  std::string extension;  // with ik-seo: the stored file's extension, decoded, without the dot
};

/// Splits at slashes, before anything is decoded (a base64 value in a transformation may hold "%2F"). Empty segments
/// are kept, except for the one before the leading slash.
std::vector<std::string_view> SplitPath(std::string_view path);

/// `after_file_name`: the endpoint prefix before these segments ends in something like a file name ("/img.v2").
PathParts TakePathApart(std::vector<std::string_view> segments, bool after_file_name);

/// The library path of `path`, a raw path below an endpoint: "/tr:w-9/pets/my%20cat.jpg". `library_path` is set for
/// kLibraryFile only, `reason` for everything else.
UrlClass ReadPath(std::string_view path, bool after_file_name, LibraryPath* library_path, const char** reason);

/// "clip.mp4", but neither "clip" nor ".clip" nor "clip.": decoded, a letter or digit after the last dot.
bool LooksLikeFileName(std::string_view segment);

/// The decoded extension of such a name; empty when it is none.
std::string ExtensionOf(std::string_view segment);

/// `tr:...` or `ik-seo`: what stands directly after an endpoint and nowhere else.
bool IsFrontSegment(std::string_view segment) noexcept;

/// A segment with a known meaning of its own to ImageKit, so no part of an endpoint. ("ik-demo" may be an account.)
bool IsReservedSegment(std::string_view segment) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_URL_PATH_H
