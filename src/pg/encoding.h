// Text from outside, which is UTF-8, in the database's encoding, and back.

#ifndef IMAGEKIT_PG_ENCODING_H
#define IMAGEKIT_PG_ENCODING_H

#include <string_view>

#include "pg/server.h"

namespace imagekit::pg {

/// True when every valid UTF-8 text is one of the database's as it is, or the text is ASCII.
bool IsServerText(const char *utf8);

/// Valid UTF-8 in the database's encoding, palloc'ed; a character that it does not have becomes \uXXXX, or \UXXXXXXXX. Needs no
/// transaction.
char *ToServerText(const char *utf8);

/// Text of the database as UTF-8: itself where that is the same, else palloc'ed. Raises an error for bytes that are no text.
/// Needs a transaction.
std::string_view ToUtf8(std::string_view server_text);

/// What Unicode has for a character it cannot name.
constexpr int32 kNoCharacter = 0xFFFD;

/// The code point of the character at `text`, of at most `length` bytes, and how many of them it takes. One that Unicode does not
/// have, and a byte of a SQL_ASCII database that is no UTF-8, is kNoCharacter. Needs a transaction.
int32 CodePoint(const char *text, int length, int *taken);

}  // namespace imagekit::pg

#endif  // IMAGEKIT_PG_ENCODING_H
