// code_points(): what each character of a text is by Unicode, whatever the database's encoding. The report writes what is not ASCII
// by these numbers.

#include "pg/encoding.h"
#include "pg/server.h"

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_code_points);

// code_points(value text) -> integer[]
Datum imagekit_code_points(PG_FUNCTION_ARGS) {
  text *value = PG_GETARG_TEXT_PP(0);
  const char *at = VARDATA_ANY(value);
  const char *end = at + VARSIZE_ANY_EXHDR(value);
  auto *codes = static_cast<Datum *>(palloc(sizeof(Datum) * (end - at + 1)));
  int count = 0, taken;
  for (; at < end; at += taken)
    codes[count++] = Int32GetDatum(imagekit::pg::CodePoint(at, static_cast<int>(end - at), &taken));
  PG_RETURN_ARRAYTYPE_P(construct_array(codes, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}
}
