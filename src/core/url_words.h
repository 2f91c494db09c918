// The file names that stand anywhere in a piece of text.
//
// Private to the url*.cpp files.

#ifndef IMAGEKIT_CORE_URL_WORDS_H
#define IMAGEKIT_CORE_URL_WORDS_H

#include <string>
#include <string_view>
#include <vector>

namespace imagekit {

/// Appends every word that ends in a file name's extension: of letters and digits of any script, ".", "-" and "_", which is what
/// ImageKit makes the names of uploads of (section 9.8). Where ASCII is followed by other letters, its part as well ("a.jpg和");
/// and what is before a later dot ("a.jpg...and"), and behind a transformation's "di-". Linear time but for words of many dots.
void FindNames(std::string_view text, std::vector<std::string_view>* names);

/// Undoes the escapes of JSON, and a backslash before punctuation, as Markdown has it. What is no escape stays.
std::string WithoutBackslashes(std::string_view text);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_URL_WORDS_H
