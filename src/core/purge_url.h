// Which URL to have purged from the CDN when a file is gone.

#ifndef IMAGEKIT_CORE_PURGE_URL_H
#define IMAGEKIT_CORE_PURGE_URL_H

#include <string>
#include <string_view>

namespace imagekit {

/// The URL without query and fragment, and with a `*` behind it where the service allows one (section 6.3 of the API
/// contract), so that what continues it goes as well: `?tr=` variants, `/ik-thumbnail.jpg`. A URL with a transformation
/// before the file is another prefix, which only its own purge reaches.
std::string PurgeUrl(std::string_view url);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_PURGE_URL_H
