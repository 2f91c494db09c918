// URLs in a json column, by the server's own JSON parser: the same meaning as for jsonb, without building a jsonb,
// which would fail for what json allows (a \u0000, a number out of range).

#include "capture/extract.h"

namespace imagekit::capture {

namespace {

struct Frame {
  bool object;
  int steps;  // of the path taken to reach this container; -1: beside the path
  char *key;  // of the member at hand
  char *url;  // the object's "url", held back until its "fileId" has been seen
  char *file_id;
};

struct Walk {
  SourcePath path;
  UrlSink *sink;
  Frame *frames;
  int depth;
  int room;
  int next_steps;  // path steps taken to reach the value that comes next
};

Walk *Of(void *state) { return static_cast<Walk *>(state); }
Frame *Top(Walk *walk) { return &walk->frames[walk->depth - 1]; }
bool Addressed(const Walk *walk, int steps) { return steps == walk->path.steps; }

void Enter(Walk *walk, bool object) {
  if (walk->depth == walk->room) {
    walk->room *= 2;
    walk->frames = static_cast<Frame *>(repalloc_huge(walk->frames, sizeof(Frame) * walk->room));
  }
  walk->frames[walk->depth++] = {object, walk->next_steps, nullptr, nullptr, nullptr};
}

// How far the path has come with a member of the container on top.
int StepsTo(const Walk *walk, const Frame *container, const char *key) {
  if (container->steps < 0 || Addressed(walk, container->steps)) return container->steps;
  const PathStep &step = walk->path.step[container->steps];
  bool taken = step.key == nullptr ? key == nullptr : key != nullptr && strcmp(step.key, key) == 0;
  return taken ? container->steps + 1 : -1;
}

void TakeUrlOf(Walk *walk, Frame *object) {
  if (object->url != nullptr)
    ExtractFromText(object->url, object->file_id != nullptr ? object->file_id : std::string_view(), walk->sink);
  object->url = nullptr;
}

pg::JsonCallbackResult ObjectStart(void *state) {
  Enter(Of(state), true);
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

pg::JsonCallbackResult ObjectEnd(void *state) {
  TakeUrlOf(Of(state), Top(Of(state)));
  Of(state)->depth--;
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

pg::JsonCallbackResult ArrayStart(void *state) {
  Enter(Of(state), false);
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

pg::JsonCallbackResult ArrayEnd(void *state) {
  Of(state)->depth--;
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

pg::JsonCallbackResult FieldStart(void *state, char *key, bool) {
  Walk *walk = Of(state);
  Top(walk)->key = key;
  walk->next_steps = StepsTo(walk, Top(walk), key);
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

pg::JsonCallbackResult ElementStart(void *state, bool) {
  Walk *walk = Of(state);
  walk->next_steps = StepsTo(walk, Top(walk), nullptr);
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

pg::JsonCallbackResult Scalar(void *state, char *token, JsonTokenType type) {
  Walk *walk = Of(state);
  if (type == JSON_TOKEN_STRING && Addressed(walk, walk->next_steps)) {
    // A key of an object that is itself addressed, not one the path leads to by name.
    Frame *object = walk->depth > 0 && Top(walk)->object && Addressed(walk, Top(walk)->steps) ? Top(walk) : nullptr;
    if (object != nullptr && strcmp(object->key, "url") == 0) {
      TakeUrlOf(walk, object);  // a duplicate key: both are in the document
      object->url = token;
    } else if (object != nullptr && strcmp(object->key, "fileId") == 0) {
      object->file_id = token;
    } else {
      ExtractFromText(token, {}, walk->sink);
    }
  }
  IMAGEKIT_JSON_CALLBACK_RETURN;
}

JsonParseErrorType Parse(char *json, int length, const SourcePath &path, UrlSink *sink) {
  Walk walk = {path, sink, static_cast<Frame *>(palloc(sizeof(Frame) * 16)), 0, 16, 0};
  JsonSemAction actions = {};
  actions.semstate = &walk;
  actions.object_start = ObjectStart;
  actions.object_end = ObjectEnd;
  actions.array_start = ArrayStart;
  actions.array_end = ArrayEnd;
  actions.object_field_start = FieldStart;
  actions.array_element_start = ElementStart;
  actions.scalar = Scalar;
  return pg_parse_json(pg::MakeJsonLexer(json, length), &actions);
}

// The number of a \\uXXXX escape at `escape`; -1 when there is none.
int EscapedUnit(const char *escape, const char *end) {
  if (end - escape < 6 || escape[0] != '\\' || escape[1] != 'u') return -1;
  int unit = 0;
  for (int i = 2; i < 6; i++) {
    char c = escape[i];
    unit = unit * 16 + (c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return unit;
}

void AppendPercentEncoded(StringInfo text, pg_wchar code_point) {
  unsigned char bytes[4];
  int size = pg_utf_mblen(unicode_to_utf8(code_point, bytes));
  for (int i = 0; i < size; i++) appendStringInfo(text, "%%%02X", bytes[i]);
}

// json accepts escapes that no text can hold: \\u0000, halves of surrogate pairs, and characters that the database's encoding
// lacks. The latter are written as a URL can have them. The former become a control character: no URL with one of them can
// be read, and none may turn into another file's, as it could with a question mark in its place.
char *WithPossibleEscapes(const char *json, int length, int *new_length) {
  StringInfoData repaired;
  initStringInfo(&repaired);
  bool utf8 = GetDatabaseEncoding() == PG_UTF8;
  const char *end = json + length;
  for (const char *at = json; at < end;) {
    int unit = EscapedUnit(at, end);
    if (unit < 0) {
      int size = *at == '\\' ? 2 : 1;  // a backslash never ends a valid document
      appendBinaryStringInfo(&repaired, at, size);
      at += size;
      continue;
    }
    int low = unit >= 0xD800 && unit <= 0xDBFF ? EscapedUnit(at + 6, end) : -1;
    bool pair = low >= 0xDC00 && low <= 0xDFFF;
    int size = pair ? 12 : 6;
    if (unit == 0 || (!pair && unit >= 0xD800 && unit <= 0xDFFF))
      appendStringInfoString(&repaired, "\\u0001");
    else if (utf8 || unit < 0x80)
      appendBinaryStringInfo(&repaired, at, size);
    else
      AppendPercentEncoded(&repaired,
                           static_cast<pg_wchar>(pair ? 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00) : unit));
    at += size;
  }
  *new_length = repaired.len;
  return repaired.data;
}

// URLs found before a parse error would be found again after the repair, so only a complete parse reaches the sink.
struct Collected : UrlSink {
  StringInfoData bytes;  // (url, '\0', file_id, '\0')*
};

void Collect(UrlSink *self, std::string_view url, std::string_view file_id) {
  StringInfo bytes = &static_cast<Collected *>(self)->bytes;
  appendBinaryStringInfo(bytes, url.data(), static_cast<int>(url.size()));
  appendStringInfoChar(bytes, '\0');
  appendBinaryStringInfo(bytes, file_id.data(), static_cast<int>(file_id.size()));
  appendStringInfoChar(bytes, '\0');
}

// True when the whole document was read. Errors stay here: the stack limit, met in a document that was accepted with more
// stack to spare, or an escape that the encoding lacks. The parser holds nothing but memory, so no subtransaction is
// needed; a cancel, and running out of memory, go on their way.
pg_noinline bool ParseWhole(char *json, int length, const SourcePath &path, Collected *collected) {
  volatile bool parsed = false;
  MemoryContext before = CurrentMemoryContext;
  resetStringInfo(&collected->bytes);
  PG_TRY();
  { parsed = Parse(json, length, path, collected) == JSON_SUCCESS; }
  PG_CATCH();
  {
    MemoryContextSwitchTo(before);
    int error_class = ERRCODE_TO_CATEGORY(CopyErrorData()->sqlerrcode);
    bool of_the_value = error_class == ERRCODE_DATA_EXCEPTION || error_class == ERRCODE_FEATURE_NOT_SUPPORTED ||
                        error_class == ERRCODE_TO_CATEGORY(ERRCODE_STATEMENT_TOO_COMPLEX);
    if (!of_the_value) PG_RE_THROW();
    FlushErrorState();
  }
  PG_END_TRY();
  return parsed;
}

// The parser copies every string, and frees none: from a large document, what it leaves is thrown away at once.
bool ParseInScratch(char *json, int length, const SourcePath &path, Collected *collected) {
  constexpr int kLarge = 64 * 1024;
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch =
      length < kLarge ? nullptr : AllocSetContextCreate(before, "imagekit json", ALLOCSET_DEFAULT_SIZES);
  if (scratch != nullptr) MemoryContextSwitchTo(scratch);
  bool parsed = ParseWhole(json, length, path, collected);
  if (!parsed) {
    json = WithPossibleEscapes(json, length, &length);
    parsed = ParseWhole(json, length, path, collected);
  }
  MemoryContextSwitchTo(before);
  if (scratch != nullptr) MemoryContextDelete(scratch);
  return parsed;
}

}  // namespace

void ExtractFromJson(text *document, const SourcePath &path, UrlSink *sink) {
  Collected collected;
  collected.take = Collect;
  initStringInfo(&collected.bytes);
  if (!ParseInScratch(VARDATA_ANY(document), static_cast<int>(VARSIZE_ANY_EXHDR(document)), path, &collected)) {
    sink->unreadable = true;
    if (sink->if_unreadable == Unreadable::kMark) return;
    bool raise = sink->if_unreadable == Unreadable::kRaise;
    ereport(raise ? ERROR : WARNING,
            (errcode(ERRCODE_STATEMENT_TOO_COMPLEX), errmsg("a json value could not be searched for image URLs"),
             raise ? errdetail("It is nested too deeply, and may hold any.")
                   : errdetail("It is nested too deeply. Images in it are not queued."),
             errhint("Raise max_stack_depth, or use jsonb.")));
    return;
  }
  for (int at = 0; at < collected.bytes.len;) {
    std::string_view url(collected.bytes.data + at);
    std::string_view file_id(collected.bytes.data + at + url.size() + 1);
    sink->take(sink, url, file_id);
    at += static_cast<int>(url.size() + file_id.size()) + 2;
  }
}

}  // namespace imagekit::capture
