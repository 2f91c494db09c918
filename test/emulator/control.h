// The control API under /_control/: how tests fill the library, turn switches, plant faults and read the journal.
// Described for users in README.md.
#pragma once

#include "message.h"

namespace ikemu {

class Emulator;

Reply handle_control(Emulator &emulator, const Request &request);

}  // namespace ikemu
