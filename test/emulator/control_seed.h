// The part of the control API that fills, empties and shows libraries.
#pragma once

#include <json/json.h>

#include "emulator.h"

namespace ikemu {

// Each throws std::invalid_argument when the request makes no sense. All take the state's lock.
Json::Value seed_files(Emulator &emulator, const Json::Value &body);
Json::Value seed_many(Emulator &emulator, const Json::Value &body);
Json::Value remove_files(Emulator &emulator, const Json::Value &body);
Json::Value show_files(Emulator &emulator, const Request &request);
Json::Value count_files(Emulator &emulator, const Request &request);

}  // namespace ikemu
