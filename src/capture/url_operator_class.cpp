// Support functions of the GIN operator classes url_text_ops, url_array_ops, url_json_ops and url_jsonb_ops.
//
// They run for every row that is written into an indexed table, so they never fail for what a value holds.

#include <algorithm>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#ifdef __clang_analyzer__
#define XXH_DEBUGLEVEL 1  // its assertions say that only an empty text is at no address
#endif
#include <xxhash.h>

#include "capture/reference_index.h"

#include "capture/extract.h"
#include "core/url.h"
#include "pg/bridge.h"

namespace imagekit::capture {

namespace {

struct KeySink : UrlSink {
  std::vector<int32> *others;  // of one URL
  Datum *keys;
  int count;
  int room;
};

void AddKey(KeySink *sink, int32 key) {
  if (sink->count == sink->room) {
    sink->room *= 2;
    sink->keys = static_cast<Datum *>(repalloc_huge(sink->keys, sizeof(Datum) * sink->room));
  }
  sink->keys[sink->count++] = Int32GetDatum(key);
}

// C++ throughout. Its answer stands in indexes on disk: xxHash is the same everywhere and for ever, and UrlKey says the same of
// itself.
int32 Hash(const std::string &key) {
  return key.empty() ? kNoKey : static_cast<int32>(std::max(XXH32(key.data(), key.size(), 0), XXH32_hash_t{2}));
}

void TakeKeysOf(KeySink *sink, std::string_view url) {
  int32 key = IndexKey(url);
  if (key != kNoKey) AddKey(sink, key);
  pg::CallCxx([&] {
    sink->others->clear();
    for (const std::string &other : OtherUrlKeys(url)) sink->others->push_back(Hash(other));
  });
  for (size_t i = 0; i < sink->others->size(); i++) AddKey(sink, (*sink->others)[i]);
}

void TakeKey(UrlSink *self, std::string_view url, std::string_view) {
  auto *sink = static_cast<KeySink *>(self);
  TakeKeysOf(sink, url);
  InnerUrls inner(url);
  for (std::string_view another; inner.Next(&another);) TakeKeysOf(sink, another);
}

Datum KeysOf(FunctionCallInfo fcinfo, ColumnKind kind) {
  auto *count = reinterpret_cast<int32 *>(PG_GETARG_POINTER(1));
  KeySink sink = {};
  sink.take = TakeKey;
  sink.others = pg::Own<std::vector<int32>>(CurrentMemoryContext);
  sink.if_unreadable = Unreadable::kMark;
  sink.room = 8;
  sink.keys = static_cast<Datum *>(palloc(sizeof(Datum) * sink.room));
  ExtractUrls(PG_GETARG_DATUM(0), kind, SourcePath{}, {}, &sink);
  if (sink.unreadable) AddKey(&sink, kUnreadableKey);
  *count = sink.count;
  PG_RETURN_POINTER(sink.keys);
}

}  // namespace

int32 IndexKey(std::string_view url) {
  return pg::CallCxx([&] { return Hash(UrlKey(url)); });
}

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_keys_of_text);
IMAGEKIT_SQL_FUNCTION(imagekit_keys_of_array);
IMAGEKIT_SQL_FUNCTION(imagekit_keys_of_json);
IMAGEKIT_SQL_FUNCTION(imagekit_keys_of_jsonb);
IMAGEKIT_SQL_FUNCTION(imagekit_keys_asked);
IMAGEKIT_SQL_FUNCTION(imagekit_any_key);
IMAGEKIT_SQL_FUNCTION(imagekit_any_key_ternary);

// GIN extractValue, one for each kind of column
Datum imagekit_keys_of_text(PG_FUNCTION_ARGS) {
  return imagekit::capture::KeysOf(fcinfo, imagekit::capture::ColumnKind::kText);
}
Datum imagekit_keys_of_array(PG_FUNCTION_ARGS) {
  return imagekit::capture::KeysOf(fcinfo, imagekit::capture::ColumnKind::kTextArray);
}
Datum imagekit_keys_of_json(PG_FUNCTION_ARGS) {
  return imagekit::capture::KeysOf(fcinfo, imagekit::capture::ColumnKind::kJson);
}
Datum imagekit_keys_of_jsonb(PG_FUNCTION_ARGS) {
  return imagekit::capture::KeysOf(fcinfo, imagekit::capture::ColumnKind::kJsonb);
}

// GIN extractQuery: the query is an int4[] of keys
Datum imagekit_keys_asked(PG_FUNCTION_ARGS) {
  auto *count = reinterpret_cast<int32 *>(PG_GETARG_POINTER(1));
  Datum *keys;
  bool *nulls;
  int given;
  deconstruct_array(PG_GETARG_ARRAYTYPE_P_COPY(0), INT4OID, sizeof(int32), true, TYPALIGN_INT, &keys, &nulls, &given);
  *count = given;
  PG_RETURN_POINTER(keys);
}

// GIN consistent: a row with any of the keys
Datum imagekit_any_key(PG_FUNCTION_ARGS) {
  auto *check = reinterpret_cast<bool *>(PG_GETARG_POINTER(0));
  int32 count = PG_GETARG_INT32(3);
  *reinterpret_cast<bool *>(PG_GETARG_POINTER(5)) = true;
  for (int32 i = 0; i < count; i++)
    if (check[i]) PG_RETURN_BOOL(true);
  PG_RETURN_BOOL(false);
}

// GIN triConsistent
Datum imagekit_any_key_ternary(PG_FUNCTION_ARGS) {
  auto *check = reinterpret_cast<GinTernaryValue *>(PG_GETARG_POINTER(0));
  int32 count = PG_GETARG_INT32(3);
  GinTernaryValue result = GIN_FALSE;
  for (int32 i = 0; i < count; i++)
    if (check[i] != GIN_FALSE) result = GIN_MAYBE;
  PG_RETURN_GIN_TERNARY_VALUE(result);
}
}
