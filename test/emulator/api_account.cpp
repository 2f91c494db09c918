// Cache purge, usage and URL endpoints.
#include <cctype>

#include "api.h"
#include "times.h"

namespace ikemu {

namespace {

// What follows host, account id and endpoint identifier in a URL of this account; empty for a foreign URL.
std::string rest_of_url(const Account &account, const std::string &url) {
    std::size_t at = 0;
    for (const char *scheme : {"https://", "http://"})
        if (url.compare(0, std::string(scheme).size(), scheme) == 0)
            at = std::string(scheme).size();
    if (at == 0)
        return "";
    const std::size_t slash = url.find('/', at);
    if (slash == std::string::npos)
        return "";
    std::string host = url.substr(at, slash - at);
    for (char &c : host)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    std::string rest = url.substr(slash);
    if (host == "ik.imagekit.io") {
        const std::string lead = "/" + account.name + "/";
        if (rest.compare(0, lead.size(), lead) != 0)
            return "";
        rest = rest.substr(lead.size() - 1);
    } else {
        bool known = false;
        for (const std::string &domain : account.domains)
            known = known || domain == host;
        if (!known)
            return "";
    }
    for (const Json::Value &endpoint : account.url_endpoints) {
        const std::string prefix = endpoint["urlPrefix"].asString();
        if (!prefix.empty() && rest.compare(0, prefix.size() + 2, "/" + prefix + "/") == 0)
            return rest.substr(prefix.size() + 1);
    }
    return rest;
}

// A star may stand at the very end only, and not after too little (section 6.3 of the contract).
bool wildcard_allowed(const std::string &rest) {
    const std::size_t star = rest.find('*');
    if (star == std::string::npos)
        return true;
    if (star + 1 != rest.size() || rest == "/media/catalog/*" || rest == "/s/files/*")
        return false;
    const std::string before = rest.substr(0, star);
    const std::size_t second = before.find('/', 1);
    const bool nested = second != std::string::npos && second + 1 < before.size();
    const std::size_t last = before.rfind('/');
    const std::size_t dot = before.find('.', last);
    const bool whole_file = dot != std::string::npos && dot > last + 1 && dot + 1 < before.size();
    return nested || before.size() >= 15 || whole_file;
}

bool is_date(const std::string &text) {
    return text.size() == 10 && parse_time(text).has_value();
}

}  // namespace

std::string library_path_of(const Account &account, const std::string &url) {
    const std::string rest = rest_of_url(account, url.substr(0, url.find_first_of("?#")));
    return rest.empty() ? "" : percent_decode(rest, false);
}

Reply purge_cache(Call &call) {
    const Switches &switches = call.state.switches;
    const Json::Value body = json_body(call.request);
    if (!body["url"].isString() || body["url"].asString().empty())
        throw ApiError(400, "Your request is missing URL parameter.");
    const std::string url = body["url"].asString();
    const std::string rest = rest_of_url(call.account, url);
    if (rest.size() < 2 || !wildcard_allowed(rest))
        throw ApiError(400, "The URL is not valid for cache purging.");
    if (switches.purge_quota != "unlimited" && call.account.purges >= switches.purge_quota_limit)
        throw ApiError(switches.purge_quota == "403" ? 403 : 429, "Purge cache request limit exceeded.");
    ++call.account.purges;
    const std::string id = to_hex(next_id());
    call.state.purges[id] = PurgeRequest{call.account.name, url, call.now};
    Json::Value answer(Json::objectValue);
    answer["requestId"] = id;
    return json_reply(switches.purge_status, answer);
}

Reply purge_status(Call &call) {
    const auto it = call.state.purges.find(call.args[0]);
    if (it == call.state.purges.end() || it->second.account != call.account.name)
        throw ApiError(400, "No request found for this requestId.");
    Json::Value answer(Json::objectValue);
    const bool pending = call.now < it->second.made_ms + call.state.switches.purge_pending_ms;
    answer["status"] = pending ? "Pending" : "Completed";
    return json_reply(200, answer);
}

Reply account_usage(Call &call) {
    const std::string *start = call.request.param("startDate");
    const std::string *end = call.request.param("endDate");
    if (!start || !end || start->empty() || end->empty())
        throw ApiError(400, "startDate and endDate are required in query parameters.");
    if (!is_date(*start) || !is_date(*end))
        throw ApiError(400, "startDate and endDate should be in format YYYY-MM-DD.");
    const std::int64_t from = *parse_time(*start), to = *parse_time(*end);
    if (from >= to)
        throw ApiError(400, "startDate should be before endDate.");
    if (to - from >= 90LL * 24 * 3600 * 1000)
        throw ApiError(400, "startDate and endDate should be within 90 days.");
    std::uint64_t stored = 0;
    for (const File *file : call.account.library.ordered(SortKey::created))
        if (file->deleted_ms == 0)
            stored += file->size;
    Json::Value answer(Json::objectValue);
    answer["bandwidthBytes"] = static_cast<Json::UInt64>(734003200);
    answer["mediaLibraryStorageBytes"] = static_cast<Json::UInt64>(stored);
    answer["videoProcessingUnitsCount"] = 0;
    answer["extensionUnitsCount"] = 12;
    answer["originalCacheStorageBytes"] = 0;
    return json_reply(200, answer);
}

Reply url_endpoints(Call &call) {
    return json_reply(200, call.account.url_endpoints);
}

}  // namespace ikemu
