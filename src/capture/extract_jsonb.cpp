// URLs in a jsonb document: at a path, every string below it, and objects that hold `url` and `fileId` as pairs.
//
// Containers wait on a list instead of the stack: a document may be nested deeper than the stack of the DELETE that
// removes it allows, and that DELETE must not fail.

#include "capture/extract.h"

namespace imagekit::capture {

namespace {

struct Item {
  JsonbValue value;
  int steps;  // of the path, already taken
};

struct WorkList {
  Item *items;
  int count;
  int room;
};

void Push(WorkList *list, const JsonbValue &value, int steps) {
  if (value.type != jbvString && value.type != jbvBinary) return;
  if (list->count == list->room) {
    list->room *= 2;
    list->items = static_cast<Item *>(repalloc_huge(list->items, sizeof(Item) * list->room));
  }
  list->items[list->count++] = {value, steps};
}

std::string_view View(const JsonbValue &value) {
  return {value.val.string.val, static_cast<size_t>(value.val.string.len)};
}

bool StringAt(JsonbContainer *object, const char *key, JsonbValue *value) {
  return getKeyJsonValueFromContainer(object, key, static_cast<int>(strlen(key)), value) != nullptr &&
         value->type == jbvString;
}

// The one step of a path that stands between a container and the addressed value.
void Descend(WorkList *list, JsonbContainer *container, const PathStep &step, int steps) {
  JsonbValue value;
  if (step.key != nullptr) {
    if (JsonContainerIsObject(container) &&
        getKeyJsonValueFromContainer(container, step.key, step.length, &value) != nullptr)
      Push(list, value, steps + 1);
    return;
  }
  if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container)) return;
  JsonbIterator *iterator = JsonbIteratorInit(container);
  JsonbIteratorToken token;
  while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
    if (token == WJB_ELEM) Push(list, value, steps + 1);
}

// Everything in an addressed container.
void TakeAll(WorkList *list, JsonbContainer *container, int steps, UrlSink *sink) {
  JsonbValue url, id, value;
  bool pair =
      JsonContainerIsObject(container) && StringAt(container, "url", &url) && StringAt(container, "fileId", &id);
  if (pair) ExtractFromText(View(url), View(id), sink);
  bool paired_url = false;
  JsonbIterator *iterator = JsonbIteratorInit(container);
  JsonbIteratorToken token;
  while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE) {
    if (token == WJB_KEY) paired_url = pair && View(value) == "url";
    if (token == WJB_ELEM || (token == WJB_VALUE && !paired_url)) Push(list, value, steps);
  }
}

}  // namespace

void ExtractFromJsonb(Jsonb *document, const SourcePath &path, UrlSink *sink) {
  WorkList list = {static_cast<Item *>(palloc(sizeof(Item) * 16)), 0, 16};
  JsonbValue root;
  if (JB_ROOT_IS_SCALAR(document)) {
    JsonbExtractScalar(&document->root, &root);
  } else {
    root.type = jbvBinary;
    root.val.binary.data = &document->root;
    root.val.binary.len = static_cast<int>(VARSIZE_ANY_EXHDR(document));
  }
  Push(&list, root, 0);
  while (list.count > 0) {
    Item item = list.items[--list.count];
    if (item.value.type == jbvString) {
      if (item.steps == path.steps) ExtractFromText(View(item.value), {}, sink);
    } else if (item.steps < path.steps) {
      Descend(&list, item.value.val.binary.data, path.step[item.steps], item.steps);
    } else {
      TakeAll(&list, item.value.val.binary.data, item.steps, sink);
    }
  }
  pfree(list.items);
}

}  // namespace imagekit::capture
