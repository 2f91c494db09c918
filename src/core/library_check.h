// Whose library a key opens, told from one of its files.
//
// Nothing in the API says which account a key belongs to (section 4.1 of the API contract). But every file has a `url`
// on the default endpoint of its account, and that must be one of the prefixes the DBA has configured.

#ifndef IMAGEKIT_CORE_LIBRARY_CHECK_H
#define IMAGEKIT_CORE_LIBRARY_CHECK_H

#include <string>
#include <vector>

#include "core/api.h"

namespace imagekit {

/// True when what the file's URL has before its library path is, or is under, one of the prefixes. A prefix that takes in
/// a folder of the library will not do: "https://ik.imagekit.io/acme/shop/x.jpg" would be read as "/x.jpg", which is
/// another file. False without a URL.
/// Throws EndpointError for a prefix that cannot be used.
bool IsInLibrary(const std::vector<std::string>& prefixes, const FoundFile& file);

/// What the file's URL has before its library path: "https://ik.imagekit.io/acme". Empty without a URL.
std::string LibraryPrefix(const FoundFile& file);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_LIBRARY_CHECK_H
