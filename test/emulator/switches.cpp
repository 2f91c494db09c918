// Reading and writing switches by name.
#include "switches.h"

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>
#include <vector>

namespace ikemu {

namespace {

struct Access {
    std::function<Json::Value(const Switches &)> get;
    std::function<void(Switches &, const Json::Value &)> set;
};

Access choice(std::string Switches::*member, std::vector<std::string> allowed) {
    return {[member](const Switches &s) { return Json::Value(s.*member); },
            [member, allowed](Switches &s, const Json::Value &value) {
                const std::string text = value.asString();
                if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), text) == allowed.end())
                    throw std::invalid_argument("value not allowed: " + text);
                s.*member = text;
            }};
}

template <typename Number>
Access number(Number Switches::*member, std::vector<int> allowed = {}) {
    return {[member](const Switches &s) { return Json::Value(static_cast<Json::Int64>(s.*member)); },
            [member, allowed](Switches &s, const Json::Value &value) {
                const auto given = value.isString() ? std::stoll(value.asString()) : value.asInt64();
                if (given < 0 || (!allowed.empty() && std::find(allowed.begin(), allowed.end(), given) == allowed.end()))
                    throw std::invalid_argument("value not allowed: " + std::to_string(given));
                s.*member = static_cast<Number>(given);
            }};
}

const std::map<std::string, Access> &table() {
    static const std::map<std::string, Access> all{
        {"bulk_404", choice(&Switches::bulk_404, {"atomic", "deletes_found"})},
        {"bulk_limit", number(&Switches::bulk_limit)},
        {"bulk_207_ids",
         {[](const Switches &s) {
              Json::Value out(Json::arrayValue);
              for (const std::string &id : s.bulk_207_ids)
                  out.append(id);
              return out;
          },
          [](Switches &s, const Json::Value &value) {
              if (!value.isArray())
                  throw std::invalid_argument("value not allowed: a list of ids or file paths is expected");
              s.bulk_207_ids.clear();
              for (const Json::Value &id : value)
                  s.bulk_207_ids.insert(id.asString());
          }}},
        {"bulk_207_error", choice(&Switches::bulk_207_error, {})},
        {"bulk_omit", choice(&Switches::bulk_omit, {"off", "on", "on_deleted"})},
        {"purge_status", number(&Switches::purge_status, {201, 200})},
        {"purge_quota", choice(&Switches::purge_quota, {"429", "unlimited", "403"})},
        {"purge_quota_limit", number(&Switches::purge_quota_limit)},
        {"purge_pending_ms", number(&Switches::purge_pending_ms)},
        {"rate_headers", choice(&Switches::rate_headers, {"on_429", "always", "never"})},
        {"index_delay_new_ms", number(&Switches::index_delay_new_ms)},
        {"index_delay_deleted_ms", number(&Switches::index_delay_deleted_ms)},
        {"search_path_parameter", choice(&Switches::search_path_parameter, {"honoured", "ignored"})},
        {"path_without_slash", choice(&Switches::path_without_slash, {"accepted", "no_match"})},
        {"single_quotes", choice(&Switches::single_quotes, {"400", "accepted"})},
        {"backslash_escape", choice(&Switches::backslash_escape, {"400", "accepted"})},
        {"legacy_name", choice(&Switches::legacy_name, {"honoured", "ignored"})},
        {"list_url", choice(&Switches::list_url, {"updated_at", "plain"})},
        {"missing_folder", choice(&Switches::missing_folder, {"empty", "404"})},
        {"version_file_id", choice(&Switches::version_file_id, {"same", "different"})},
        {"restricted_status", number(&Switches::restricted_status, {403, 401})},
        {"date_header", choice(&Switches::date_header, {"off", "on"})},
        {"clock_offset_ms",
         {[](const Switches &s) { return Json::Value(static_cast<Json::Int64>(s.clock_offset_ms)); },
          [](Switches &s, const Json::Value &value) { s.clock_offset_ms = value.asInt64(); }}},
        {"latency_ms", number(&Switches::latency_ms)},
    };
    return all;
}

}  // namespace

Json::Value Switches::to_json() const {
    Json::Value out(Json::objectValue);
    for (const auto &[name, access] : table())
        out[name] = access.get(*this);
    return out;
}

void Switches::set(const Json::Value &values) {
    if (!values.isObject())
        throw std::invalid_argument("an object of switches is expected");
    Switches changed = *this;
    for (const std::string &name : values.getMemberNames()) {
        const auto access = table().find(name);
        if (access == table().end())
            throw std::invalid_argument("unknown switch: " + name);
        try {
            access->second.set(changed, values[name]);
        } catch (const std::exception &e) {
            throw std::invalid_argument("switch " + name + ": " + e.what());
        }
    }
    *this = std::move(changed);
}

}  // namespace ikemu
