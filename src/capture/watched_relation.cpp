// The per-backend cache of watched tables. The invalidation callback only tags: it may come while an entry is in use.

#include "capture/watched_relation.h"

namespace imagekit::capture {

namespace {

HTAB *cache = nullptr;

void Touch(WatchedRelation *entry) {
  entry->fresh = false;
  entry->touched = true;
}

void Invalidate(Datum, Oid relation) {
  if (cache == nullptr) return;
  if (OidIsValid(relation)) {
    auto *entry = static_cast<WatchedRelation *>(hash_search(cache, &relation, HASH_FIND, nullptr));
    if (entry != nullptr) Touch(entry);
    return;
  }
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, cache);
  while (auto *entry = static_cast<WatchedRelation *>(hash_seq_search(&scan))) Touch(entry);
}

void AddSources(WatchedRelation *entry, const Watch &watch, Relation relation) {
  entry->sources = static_cast<ResolvedSource *>(
      entry->sources == nullptr ? palloc(sizeof(ResolvedSource) * (watch.count + 1))
                                : repalloc(entry->sources, sizeof(ResolvedSource) * (entry->count + watch.count + 1)));
  for (int i = 0; i < watch.count; i++) {
    const WatchedSource &source = watch.sources[i];
    // Dropped, or known to hold no URL any more: said when it happened.
    if (source.dropped || !source.captured) continue;
    if (ResolveSource(source.source, relation, WARNING, &entry->sources[entry->count])) entry->count++;
  }
}

// A partition, or a child by inheritance, goes by the settings of the table that was watched.
void Fill(WatchedRelation *entry, Relation relation) {
  MemoryContextReset(entry->context);
  MemoryContext before = MemoryContextSwitchTo(entry->context);
  entry->count = 0;
  entry->sources = nullptr;
  entry->watched = InvalidOid;
  entry->grace = nullptr;
  entry->on_truncate = OnTruncate::kCapture;
  ListCell *cell;
  foreach (cell, WatchedAbove(entry->relation)) {
    Watch watch;
    if (!ReadWatch(lfirst_oid(cell), &watch)) continue;
    if (!OidIsValid(entry->watched)) {
      entry->watched = watch.relation;
      entry->grace = watch.grace;
      entry->on_truncate = watch.on_truncate;
    }
    AddSources(entry, watch, relation);
  }
  if (!OidIsValid(entry->watched))
    ereport(
        WARNING,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("table \"%s\" has the triggers of imagekit_cleanup but no settings", RelationGetRelationName(relation)),
         errdetail("Images that its rows stop using are not queued."),
         errhint("Call imagekit.watch() to have them queued, or imagekit.unwatch() to drop the triggers.")));
  MemoryContextSwitchTo(before);
}

}  // namespace

const WatchedRelation *LookUp(Relation relation) {
  Oid key = RelationGetRelid(relation);
  // Nearly always the table of the row before. Entries are never removed.
  static WatchedRelation *last = nullptr;
  if (last != nullptr && last->relation == key && last->fresh) return last;
  bool found;
  auto *entry = static_cast<WatchedRelation *>(hash_search(cache, &key, HASH_ENTER, &found));
  if (!found) {
    entry->fresh = false;
    entry->context = nullptr;
  }
  if (entry->context == nullptr)
    entry->context = AllocSetContextCreate(TopMemoryContext, "imagekit watched relation", ALLOCSET_SMALL_SIZES);
  while (!entry->fresh) {
    // An invalidation that arrives while the catalogs are read makes us read again; an error leaves the entry stale.
    entry->touched = false;
    Fill(entry, relation);
    entry->fresh = !entry->touched;
  }
  last = entry;
  return entry;
}

void ForgetWatched(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, NoLock, nullptr)) CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
}

void InitializeWatchedRelations() {
  HASHCTL control = {};
  control.keysize = sizeof(Oid);
  control.entrysize = sizeof(WatchedRelation);
  cache = hash_create("imagekit watched relations", 64, &control, HASH_ELEM | HASH_BLOBS);
  CacheRegisterRelcacheCallback(Invalidate, 0);
}

}  // namespace imagekit::capture
