// Values of text and array columns, and the choice by kind. JSON has files of its own.

#include "capture/extract.h"

#include "core/url.h"

namespace imagekit::capture {

namespace {

std::string_view View(const text *value) { return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))}; }

void ExtractFromArray(ArrayType *array, UrlSink *sink) {
  // Elements of any dimension, NULLs left out. varchar, bpchar and domains over them are stored as text is. Read as they
  // lie: an iterator's set-up and copies would be paid for every row.
  int count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
  const uint8 *present = ARR_NULLBITMAP(array);
  char *at = ARR_DATA_PTR(array);
  for (int i = 0; i < count; i++) {
    if (present != nullptr && (present[i / 8] & (1 << (i % 8))) == 0) continue;
    ExtractFromText(View(DatumGetTextPP(PointerGetDatum(at))), {}, sink);
    at = att_addlength_pointer(at, -1, at);
    // The server's own macro counts in integers.
    at = reinterpret_cast<char *>(att_align_nominal(at, TYPALIGN_INT));  // NOLINT(performance-no-int-to-ptr)
  }
}

}  // namespace

void ExtractFromText(std::string_view text, std::string_view file_id, UrlSink *sink) {
  UrlScanner scanner(text);
  std::string_view url;
  while (scanner.Next(&url)) sink->take(sink, url, file_id);
}

void ExtractUrls(Datum value, ColumnKind kind, const SourcePath &path, std::string_view file_id, UrlSink *sink) {
  switch (kind) {
    case ColumnKind::kText:
      ExtractFromText(View(DatumGetTextPP(value)), file_id, sink);
      break;
    case ColumnKind::kTextArray:
      ExtractFromArray(DatumGetArrayTypeP(value), sink);
      break;
    case ColumnKind::kJson: {
      text *document = DatumGetTextPP(value);
      ExtractFromJson(document, path, sink);
      // What the sink was shown are copies.
      if (PointerGetDatum(document) != value) pfree(document);
      break;
    }
    case ColumnKind::kJsonb:
      ExtractFromJsonb(DatumGetJsonbP(value), path, sink);
      break;
    case ColumnKind::kUnsupported:
      break;
  }
}

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_urls_in);

// urls_in(value anyelement, path text) -> text[]: what capture would see in a value, of any host.
Datum imagekit_urls_in(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  struct Collector : UrlSink {
    ArrayBuildState *urls;
  } collector;
  Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);
  ColumnKind kind = KindOfType(type);
  if (kind == ColumnKind::kUnsupported)
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                    errmsg("cannot look for URLs in a value of type %s", format_type_be(type)),
                    errhint("Give text, varchar, json, jsonb or an array of texts.")));
  SourcePath path = ParsePath(text_to_cstring(PG_GETARG_TEXT_PP(1)));
  collector.urls = initArrayResult(TEXTOID, CurrentMemoryContext, false);
  collector.take = [](UrlSink *self, std::string_view url, std::string_view) {
    auto *urls = static_cast<Collector *>(self)->urls;
    accumArrayResult(urls, PointerGetDatum(cstring_to_text_with_len(url.data(), static_cast<int>(url.size()))), false,
                     TEXTOID, CurrentMemoryContext);
  };
  ExtractUrls(PG_GETARG_DATUM(0), kind, path, {}, &collector);
  PG_RETURN_DATUM(makeArrayResult(collector.urls, CurrentMemoryContext));
}
}
