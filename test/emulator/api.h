// The ImageKit media API as functions from request to reply: routing, credentials, rights, rate limits, and one handler
// for each call. The handlers are declared here and live in api_*.cpp, one subject a file.
#pragma once

#include <json/json.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "accounts.h"
#include "message.h"
#include "switches.h"

namespace ikemu {

struct PurgeRequest {
    std::string account;
    std::string url;
    std::int64_t made_ms = 0;
};

// Everything the API acts upon. One lock for all of it: requests are short, and tests want one order of events.
struct State {
    explicit State(Accounts::Defaults defaults) : accounts(std::move(defaults)) {}

    std::mutex mutex;
    Accounts accounts;
    Switches switches;
    std::map<std::string, PurgeRequest> purges;  // by request id
};

// One authenticated call, with the state locked.
struct Call {
    const Request &request;
    State &state;
    Account &account;
    std::vector<std::string> args;  // the variable segments of the path, decoded
    std::int64_t now;
    std::vector<std::string> removed{};  // fileIds of the files that are gone with this call
};

// A refusal in the API's own error shape.
class ApiError : public std::runtime_error {
  public:
    ApiError(int status, const std::string &message, std::string reason = "")
        : std::runtime_error(message), status(status), reason(std::move(reason)) {}
    int status;
    std::string reason;
    Json::Value extra{Json::objectValue};
};

struct ApiAnswer {
    Reply reply;
    bool executed = false;    // a handler ran
    std::size_t deleted = 0;  // files that it took out of the library
    std::vector<std::string> removed{};  // fileIds of those that went by a delete of one or of many
};

// Answers a request to the API, or to a path that is none of its own. Takes the lock.
ApiAnswer answer_api(State &state, const Request &request);

Reply json_reply(int status, const Json::Value &body);
Reply error_reply(const ApiError &error);
std::string compact_json(const Json::Value &value);
// The request's JSON body, read strictly; throws ApiError 400 when it is not an object. A body of another content type
// counts as an empty object, as with the web frameworks that only parse what is called JSON.
Json::Value json_body(const Request &request);
// The file of a {fileId} segment; throws the documented 400 and 404.
File *file_of(Call &call, const std::string &id);

// api_files.cpp
Reply list_files(Call &call);
Reply file_details(Call &call);
Reply file_metadata(Call &call);
Reply metadata_by_url(Call &call);
Reply list_versions(Call &call);
Reply version_details(Call &call);

// api_delete.cpp
Reply delete_file(Call &call);
Reply delete_version(Call &call);
Reply bulk_delete(Call &call);

// api_paths.cpp
Reply rename_file(Call &call);
Reply move_file(Call &call);
Reply copy_file(Call &call);
Reply create_folder(Call &call);
Reply delete_folder(Call &call);

// api_upload.cpp
Reply upload_file(Call &call);

// api_account.cpp
Reply purge_cache(Call &call);
Reply purge_status(Call &call);
Reply account_usage(Call &call);
Reply url_endpoints(Call &call);
// The library path a delivery URL of this account means; empty for a foreign URL. Never a transformation.
std::string library_path_of(const Account &account, const std::string &url);

}  // namespace ikemu
