// What every process of the extension's own does at its start, and with a reload.

#ifndef IMAGEKIT_PG_PROCESS_H
#define IMAGEKIT_PG_PROCESS_H

#include "pg/server.h"

namespace imagekit::pg {

/// At the start of a background worker's main function: SIGHUP reloads, SIGTERM ends, SIGINT is ignored, as there is no
/// statement of anyone's to be cancelled. The settings are read again at the first ObeyReload().
void TakeSignals();

/// Reads the settings again if a SIGHUP has come; then true.
bool ObeyReload();

}  // namespace imagekit::pg

#endif  // IMAGEKIT_PG_PROCESS_H
