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
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, cache);
  while (auto *entry = static_cast<WatchedRelation *>(hash_seq_search(&scan)))
    if (!OidIsValid(relation) || entry->key.relation == relation) Touch(entry);
}

bool HasTrigger(Oid relation, Oid function) {
  Relation open = table_open(relation, AccessShareLock);
  bool found = false;
  for (int i = 0; open->trigdesc != nullptr && i < open->trigdesc->numtriggers; i++)
    found |= open->trigdesc->triggers[i].tgfoid == function;
  table_close(open, AccessShareLock);
  return found;
}

// A partition's trigger is a copy of its parent's: settings, grace and names go by the table that was watched.
Oid WatchedTable(Relation relation, const Trigger *trigger) {
  Oid watched = RelationGetRelid(relation);
  if (!relation->rd_rel->relispartition || !trigger->tgisclone) return watched;
  ListCell *cell;
  foreach (cell, get_partition_ancestors(watched))
    if (HasTrigger(lfirst_oid(cell), trigger->tgfoid)) watched = lfirst_oid(cell);
  return watched;
}

void Fill(WatchedRelation *entry, Relation relation, const Trigger *trigger, int first_argument) {
  MemoryContextReset(entry->context);
  MemoryContext before = MemoryContextSwitchTo(entry->context);
  entry->count = 0;
  entry->sources = static_cast<ResolvedSource *>(palloc0(sizeof(ResolvedSource) * (trigger->tgnargs + 1)));
  for (int i = first_argument; i < trigger->tgnargs; i++)
    if (ResolveSource(ParseSource(trigger->tgargs[i]), relation, WARNING, &entry->sources[entry->count]))
      entry->count++;
  entry->watched = WatchedTable(relation, trigger);
  MemoryContextSwitchTo(before);
}

}  // namespace

const WatchedRelation *LookUp(Relation relation, const Trigger *trigger, int first_argument) {
  WatchedKey key = {RelationGetRelid(relation), trigger->tgoid};
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
    Fill(entry, relation, trigger, first_argument);
    entry->fresh = !entry->touched;
  }
  return entry;
}

void InitializeWatchedRelations() {
  HASHCTL control = {};
  control.keysize = sizeof(WatchedKey);
  control.entrysize = sizeof(WatchedRelation);
  cache = hash_create("imagekit watched relations", 64, &control, HASH_ELEM | HASH_BLOBS);
  CacheRegisterRelcacheCallback(Invalidate, 0);
}

}  // namespace imagekit::capture
