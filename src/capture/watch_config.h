// What imagekit.watch() was told of a table, as it is true now.
//
// imagekit.watch_config holds the sources as text, with the columns' names: that is what a dump carries over.
// imagekit.watch_columns holds the same columns' numbers, which survive a rename and do not survive a dump. Where there
// are numbers they decide, and the names are read from the catalog; where there are none (just restored), the names do.

#ifndef IMAGEKIT_CAPTURE_WATCH_CONFIG_H
#define IMAGEKIT_CAPTURE_WATCH_CONFIG_H

#include "capture/source.h"

namespace imagekit::capture {

struct WatchedSource {
  Source source;  // with the columns' present names; text is as written
  bool renamed;   // the text names a column by a former name
  bool dropped;   // a column of it is gone, and with it what it held
  bool captured;  // false: its column's type can hold no URL any more, and the DBA has been told
};

enum class OnTruncate { kCapture, kDeny, kIgnore };

struct Watch {
  Oid relation;
  bool numbered;  // false: no numbers, the names decide
  int count;
  WatchedSource *sources;
  Interval *grace;  // NULL: the account's
  OnTruncate on_truncate;
  int hold_above;        // files; 0: no limit; negative: the account's
  double hold_fraction;  // likewise
  char replication;      // pg_trigger.tgenabled: TRIGGER_FIRES_...
  TimestampTz since;     // the sources are as they are since then
  char *owner;           // present name of the owner column; NULL when none
  bool owner_renamed;
  bool owner_dropped;
};

/// The settings of a watched table, in the current memory context; false when it is not watched itself. Takes no lock on
/// the table.
bool ReadWatch(Oid relation, Watch *watch);

/// False when imagekit.watch() has been called for no table, or for none that is still remembered.
bool AnySettings();

/// All tables imagekit.watch() was called for, as far as they exist.
List *WatchedTables();

/// The watched tables whose settings hold for a table's rows: itself, and those it is a partition or child of. Nearest
/// first.
List *WatchedAbove(Oid relation);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_WATCH_CONFIG_H
