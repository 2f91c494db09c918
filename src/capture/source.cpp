// Reads sources, and finds them in a table.

#include "capture/source.h"

namespace imagekit::capture {

namespace {

struct Cursor {
  const char *text;  // the whole source, for messages
  const char *at;
};

[[noreturn]] void Fail(const Cursor &cursor, const char *what) {
  ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("invalid source \"%s\"", cursor.text),
                  errdetail("At character %d: %s.", static_cast<int>(cursor.at - cursor.text) + 1, what),
                  errhint("A source is column, column.key.key, column.list[*].key or url_column:file_id_column; "
                          "a name that holds . [ : or \" is put in double quotes.")));
  pg_unreachable();
}

char *ParseName(Cursor *cursor) {
  StringInfoData name;
  initStringInfo(&name);
  if (*cursor->at == '"') {
    for (cursor->at++;; cursor->at++) {
      if (*cursor->at == '\0') Fail(*cursor, "a double quote is not closed");
      if (*cursor->at == '"' && *++cursor->at != '"') break;
      appendStringInfoChar(&name, *cursor->at);
    }
  } else {
    while (*cursor->at != '\0' && strchr(".[:\"", *cursor->at) == nullptr) appendStringInfoChar(&name, *cursor->at++);
  }
  if (name.len == 0) Fail(*cursor, "a name is missing");
  return name.data;
}

bool ParseEvery(Cursor *cursor) {
  if (*cursor->at != '[') return false;
  if (strncmp(cursor->at, "[*]", 3) != 0) Fail(*cursor, "only [*], every element, may stand in brackets");
  cursor->at += 3;
  return true;
}

void AddStep(SourcePath *path, char *key) {
  path->step = path->step == nullptr
                   ? static_cast<PathStep *>(palloc(sizeof(PathStep)))
                   : static_cast<PathStep *>(repalloc(path->step, sizeof(PathStep) * (path->steps + 1)));
  path->step[path->steps++] = {key, key == nullptr ? 0 : static_cast<int>(strlen(key))};
}

// ( "." name | "[*]" )*
void ParseSteps(Cursor *cursor, SourcePath *path) {
  for (;;) {
    if (ParseEvery(cursor)) {
      AddStep(path, nullptr);
    } else if (*cursor->at == '.') {
      cursor->at++;
      AddStep(path, ParseName(cursor));
    } else {
      return;
    }
  }
}

void AppendName(StringInfo text, const char *name) {
  bool quote = strpbrk(name, ".[:\"") != nullptr;
  if (quote) appendStringInfoChar(text, '"');
  for (; *name != '\0'; name++) {
    if (*name == '"') appendStringInfoChar(text, '"');
    appendStringInfoChar(text, *name);
  }
  if (quote) appendStringInfoChar(text, '"');
}

void AppendSteps(StringInfo text, const SourcePath &path) {
  for (int i = 0; i < path.steps; i++) {
    if (path.step[i].key == nullptr) {
      appendStringInfoString(text, "[*]");
      continue;
    }
    if (text->len > 0) appendStringInfoChar(text, '.');
    AppendName(text, path.step[i].key);
  }
}

bool IsTextType(Oid type) { return type == TEXTOID || type == VARCHAROID || type == BPCHAROID; }

Form_pg_attribute FindColumn(Relation relation, const char *name) {
  TupleDesc columns = RelationGetDescr(relation);
  for (int i = 0; i < columns->natts; i++) {
    Form_pg_attribute column = TupleDescAttr(columns, i);
    if (!column->attisdropped && strcmp(NameStr(column->attname), name) == 0) return column;
  }
  return nullptr;
}

char *ColumnNames(Relation relation) {
  StringInfoData names;
  initStringInfo(&names);
  TupleDesc columns = RelationGetDescr(relation);
  for (int i = 0; i < columns->natts; i++)
    if (!TupleDescAttr(columns, i)->attisdropped)
      appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", NameStr(TupleDescAttr(columns, i)->attname));
  return names.data;
}

Form_pg_attribute ColumnOrComplain(const Source &source, const char *name, Relation relation, int level) {
  Form_pg_attribute column = FindColumn(relation, name);
  if (column == nullptr)
    ereport(level, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("column \"%s\" of source \"%s\" does not exist in table \"%s\"", name, source.text,
                           RelationGetRelationName(relation)),
                    level >= ERROR ? errdetail("Columns are: %s.", ColumnNames(relation))
                                   : errdetail("URLs in it are not captured any more."),
                    level >= ERROR ? errhint("Write the name as in the catalog, case and all.")
                                   : errhint("Call imagekit.watch() again with the sources as they are now.")));
  return column;
}

bool IsPlain(ColumnKind kind) { return kind == ColumnKind::kText || kind == ColumnKind::kTextArray; }

void FillColumn(const Source &source, Form_pg_attribute column, ResolvedSource *resolved) {
  resolved->column = column->attnum;
  resolved->type = column->atttypid;
  resolved->kind = KindOfType(column->atttypid);
  resolved->path = source.path;
  resolved->file_id_column = 0;
  // "images[*]" is another way to say "images" of a text array.
  bool elements =
      resolved->kind == ColumnKind::kTextArray && source.path.steps == 1 && source.path.step[0].key == nullptr;
  if (elements) resolved->path = SourcePath{};
}

}  // namespace

ColumnKind KindOfType(Oid type) {
  Oid base = getBaseType(type);
  if (IsTextType(base)) return ColumnKind::kText;
  if (base == JSONOID) return ColumnKind::kJson;
  if (base == JSONBOID) return ColumnKind::kJsonb;
  Oid element = get_element_type(base);
  if (OidIsValid(element) && IsTextType(getBaseType(element))) return ColumnKind::kTextArray;
  return ColumnKind::kUnsupported;
}

Source ParseSource(const char *text) {
  Cursor cursor = {text, text};
  Source source = {};
  source.text = pstrdup(text);
  source.column = ParseName(&cursor);
  ParseSteps(&cursor, &source.path);
  if (*cursor.at == ':') {
    cursor.at++;
    source.file_id_column = ParseName(&cursor);
  }
  if (*cursor.at != '\0') Fail(cursor, "a dot, [*] or the end is expected");
  return source;
}

SourcePath ParsePath(const char *text) {
  Cursor cursor = {text, text};
  SourcePath path = {};
  if (*cursor.at != '\0' && *cursor.at != '[') AddStep(&path, ParseName(&cursor));
  ParseSteps(&cursor, &path);
  if (*cursor.at != '\0') Fail(cursor, "a dot, [*] or the end is expected");
  return path;
}

char *FormatPath(const SourcePath &path) {
  StringInfoData text;
  initStringInfo(&text);
  AppendSteps(&text, path);
  return text.data;
}

char *FormatSource(const Source &source) {
  StringInfoData text;
  initStringInfo(&text);
  AppendName(&text, source.column);
  AppendSteps(&text, source.path);
  if (source.file_id_column != nullptr) {
    appendStringInfoChar(&text, ':');
    AppendName(&text, source.file_id_column);
  }
  return text.data;
}

bool ResolveSource(const Source &source, Relation relation, int level, ResolvedSource *resolved) {
  Form_pg_attribute column = ColumnOrComplain(source, source.column, relation, level);
  if (column == nullptr) return false;
  FillColumn(source, column, resolved);
  bool plain = IsPlain(resolved->kind);
  const char *why = resolved->kind == ColumnKind::kUnsupported ? "It can hold no URL in a text or a JSON document."
                    : pg::IsVirtualColumn(column) ? "Its values are computed when read, and a deleted row has none."
                    : plain && resolved->path.steps > 0 ? "A path goes into JSON documents only."
                                                        : nullptr;
  if (why != nullptr) {
    ereport(level,
            (errcode(ERRCODE_DATATYPE_MISMATCH),
             level >= ERROR ? errmsg("source \"%s\" addresses no text or JSON", source.text)
                            : errmsg("source \"%s\" of watched table \"%s\" is not captured any more", source.text,
                                     RelationGetRelationName(relation)),
             errdetail("Column \"%s\" of table \"%s\" has type %s. %s", source.column,
                       RelationGetRelationName(relation), format_type_be(column->atttypid), why),
             level >= ERROR
                 ? errhint("Watch columns of type text, varchar, json, jsonb, arrays of text, or domains over these.")
                 : errhint("Call imagekit.watch() again with the sources as they are now.")));
    return false;
  }

  if (source.file_id_column != nullptr) {
    Form_pg_attribute id = ColumnOrComplain(source, source.file_id_column, relation, level);
    if (id == nullptr) return false;
    if (KindOfType(id->atttypid) != ColumnKind::kText || resolved->kind != ColumnKind::kText) {
      ereport(level,
              (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("source \"%s\" does not pair two text columns", source.text),
               errdetail("One URL goes with one fileId, so both columns must hold a single text."),
               errhint("For JSON, watch the object that holds \"url\" and \"fileId\".")));
      return false;
    }
    resolved->file_id_column = id->attnum;
  }
  return true;
}

bool ResolveForSearch(const Source &source, Relation relation, ResolvedSource *resolved) {
  Form_pg_attribute column = FindColumn(relation, source.column);
  if (column == nullptr) return false;
  FillColumn(source, column, resolved);
  if (resolved->kind != ColumnKind::kJson && resolved->kind != ColumnKind::kJsonb) resolved->path = SourcePath{};
  return true;
}

}  // namespace imagekit::capture
