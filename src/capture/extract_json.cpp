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

// json accepts escapes that no text can hold: \u0000 and halves of surrogate pairs. None of them is in a URL, so they
// become \ufffd and the rest of the document is read.
char *WithoutImpossibleEscapes(const char *json, int length) {
  char *copy = pnstrdup(json, length);
  for (char *c = copy; *c != '\0'; c++) {
    if (*c != '\\') continue;
    c++;  // the escaped character; a backslash never ends a valid document
    if (*c != 'u') continue;
    char *hex = c + 1;
    bool zero = strncmp(hex, "0000", 4) == 0;
    bool surrogate = (hex[0] == 'd' || hex[0] == 'D') && strchr("89abcdefABCDEF", hex[1]) != nullptr;
    if (zero || surrogate) memcpy(hex, "fffd", 4);
  }
  return copy;
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

bool ParseOrRepair(char *json, int length, const SourcePath &path, Collected *collected) {
  if (Parse(json, length, path, collected) == JSON_SUCCESS) return true;
  resetStringInfo(&collected->bytes);
  return Parse(WithoutImpossibleEscapes(json, length), length, path, collected) == JSON_SUCCESS;
}

// The parser recurses, and may meet the stack limit in a document that was accepted with more stack to spare. It holds
// nothing but memory, so its error can be dropped here without a subtransaction.
pg_noinline bool ParseWithinStack(char *json, int length, const SourcePath &path, Collected *collected) {
  volatile bool parsed = false;
  MemoryContext before = CurrentMemoryContext;
  PG_TRY();
  { parsed = ParseOrRepair(json, length, path, collected); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(before);
    ErrorData *error = CopyErrorData();
    if (error->sqlerrcode != ERRCODE_STATEMENT_TOO_COMPLEX) PG_RE_THROW();
    FlushErrorState();
  }
  PG_END_TRY();
  return parsed;
}

}  // namespace

void ExtractFromJson(text *document, const SourcePath &path, UrlSink *sink) {
  Collected collected;
  collected.take = Collect;
  initStringInfo(&collected.bytes);
  if (!ParseWithinStack(VARDATA_ANY(document), static_cast<int>(VARSIZE_ANY_EXHDR(document)), path, &collected)) {
    ereport(WARNING,
            (errcode(ERRCODE_STATEMENT_TOO_COMPLEX), errmsg("a json value could not be searched for image URLs"),
             errdetail("It is nested too deeply, or holds escapes that no text can hold. Its images are not queued."),
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
