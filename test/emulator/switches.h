// The open points of the API's documentation, each a switch that a test may turn. Defaults are the first values of the
// table in switches.cpp; names and values are those of README.md.
#pragma once

#include <json/json.h>

#include <cstdint>
#include <set>
#include <string>

namespace ikemu {

struct Switches {
    std::string bulk_404 = "atomic";  // or "deletes_found"
    int bulk_limit = 100;
    std::set<std::string> bulk_207_ids;  // ids or file paths whose deletion fails within a bulk
    std::string bulk_207_error = "Error in deleting tags";
    std::string bulk_omit = "off";  // "on": the last id is neither done nor reported; "on_deleted": done, not reported
    int purge_status = 201;         // or 200
    std::string purge_quota = "429";  // or "unlimited", "403": the answer when over quota
    int purge_quota_limit = 1000;
    int purge_pending_ms = 500;
    std::string rate_headers = "on_429";  // or "always", "never"
    std::int64_t index_delay_new_ms = 0;
    std::int64_t index_delay_deleted_ms = 0;
    std::string search_path_parameter = "honoured";  // or "ignored"
    std::string path_without_slash = "accepted";     // or "no_match"
    std::string single_quotes = "400";               // or "accepted"
    std::string backslash_escape = "400";            // or "accepted"
    std::string legacy_name = "honoured";            // or "ignored"
    std::string list_url = "updated_at";             // or "plain"
    std::string missing_folder = "empty";            // or "404"
    std::string version_file_id = "same";            // or "different"
    int restricted_status = 403;                     // or 401
    std::string date_header = "off";                 // or "on"
    std::int64_t clock_offset_ms = 0;                // of the service's clock, below zero too
    std::int64_t latency_ms = 0;                     // added to every API request

    Json::Value to_json() const;
    // Takes the members of an object; throws std::invalid_argument for an unknown name or value, changing nothing.
    void set(const Json::Value &values);
};

}  // namespace ikemu
