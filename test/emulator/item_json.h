// Files, versions and folders in the API's JSON. Written straight into a string: a page of a thousand files is the most
// frequent large answer, and building a tree for it first would cost more than finding it.
#pragma once

#include <string>

#include "accounts.h"
#include "search_match.h"
#include "switches.h"

namespace ikemu {

void append_json_string(std::string &out, const std::string &text);
void append_item(std::string &out, const Item &item, const Account &account, const Switches &switches);
// https://ik.imagekit.io/NAME/path with every segment percent-encoded, no query.
std::string delivery_url(const Account &account, const std::string &file_path);
// image/jpeg and the like; empty when unknown.
std::string mime_of(const File &file);

}  // namespace ikemu
