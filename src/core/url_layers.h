// The other images of the library that a transformation names: overlays, default images, fonts (sections 9.2 and 9.3).
//
// Private to the url*.cpp files.

#ifndef IMAGEKIT_CORE_URL_LAYERS_H
#define IMAGEKIT_CORE_URL_LAYERS_H

#include <string>
#include <string_view>
#include <vector>

namespace imagekit {

/// Appends the decoded name of every file that a transformation in the path or the query may name, and, where it cannot be told
/// where its path ends, of the folders in it. Finds too much rather than too little. Linear time; any bytes.
void FindLayerFiles(std::string_view path, std::string_view after_path, std::vector<std::string>* names);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_URL_LAYERS_H
