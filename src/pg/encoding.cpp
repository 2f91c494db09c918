// What comes from outside goes character by character, by the conversion that every process has at hand: finding another takes a
// transaction, and words of ImageKit's come when there is none.

#include "pg/encoding.h"

#include <algorithm>

namespace imagekit::pg {

namespace {

int32 CodeOfUtf8(const char *character) {
  return static_cast<int32>(utf8_to_unicode(reinterpret_cast<const unsigned char *>(character)));
}

// False when the encoding does not have it. `at` gets it with a zero.
bool Convert(pg_wchar character, unsigned char *at) {
  MemoryContext context = CurrentMemoryContext;
  volatile bool converted = true;
  PG_TRY();
  { pg_unicode_to_server(character, at); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    FlushErrorState();
    converted = false;
  }
  PG_END_TRY();
  return converted;
}

}  // namespace

bool IsServerText(const char *utf8) {
  // SQL_ASCII takes every byte as it is.
  if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII) return true;
  for (const char *c = utf8; *c != '\0'; c++)
    if (IS_HIGHBIT_SET(*c)) return false;
  return true;
}

char *ToServerText(const char *utf8) {
  if (IsServerText(utf8)) return pstrdup(utf8);
  StringInfoData text;
  initStringInfo(&text);
  for (auto *c = reinterpret_cast<const unsigned char *>(utf8); *c != '\0'; c += pg_utf_mblen(c)) {
    unsigned char converted[MAX_UNICODE_EQUIVALENT_STRING + 1];
    const pg_wchar character = utf8_to_unicode(c);
    if (character < 0x80)
      appendStringInfoChar(&text, static_cast<char>(character));
    else if (Convert(character, converted))
      appendStringInfoString(&text, reinterpret_cast<char *>(converted));
    else
      appendStringInfo(&text, character > 0xFFFF ? "\\U%08x" : "\\u%04x", character);
  }
  return text.data;
}

std::string_view ToUtf8(std::string_view server_text) {
  const bool same = GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
  if (same || std::none_of(server_text.begin(), server_text.end(), [](char c) { return IS_HIGHBIT_SET(c); }))
    return server_text;
  return pg_server_to_any(pnstrdup(server_text.data(), server_text.size()), static_cast<int>(server_text.size()),
                          PG_UTF8);
}

int32 CodePoint(const char *text, int length, int *taken) {
  const int encoding = GetDatabaseEncoding();
  *taken = 1;
  if (!IS_HIGHBIT_SET(*text)) return *text;
  if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII) {
    const int bytes = pg_encoding_verifymbchar(PG_UTF8, text, length);
    if (bytes <= 0) return kNoCharacter;
    *taken = bytes;
    return CodeOfUtf8(text);
  }
  *taken = Min(pg_encoding_mblen(encoding, text), length);
  const Oid conversion = FindDefaultConversionProc(encoding, PG_UTF8);
  if (!OidIsValid(conversion)) return kNoCharacter;
  unsigned char character[MAX_MULTIBYTE_CHAR_LEN + 1] = {};
  unsigned char utf8[MAX_CONVERSION_GROWTH * MAX_MULTIBYTE_CHAR_LEN + 1] = {};
  memcpy(character, text, Min(*taken, MAX_MULTIBYTE_CHAR_LEN));
  const int converted =
      pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8, character, *taken, utf8, sizeof utf8, true);
  return converted == *taken ? CodeOfUtf8(reinterpret_cast<char *>(utf8)) : kNoCharacter;
}

}  // namespace imagekit::pg
