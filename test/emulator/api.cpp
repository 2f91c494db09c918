// Routing of the API: finds the call, checks credentials, rights and rate limits, and turns refusals into replies.
#include "api.h"

#include <algorithm>
#include <memory>

#include "times.h"

namespace ikemu {

namespace {

const char help[] = "For support kindly contact us at support@imagekit.io .";
const char json_type[] = "application/json; charset=utf-8";

struct Route {
    const char *method;
    std::vector<std::string> pattern;  // "*" is a variable segment
    ApiGroup group;
    Access access;
    bool limited;  // uploads are not
    Reply (*handler)(Call &);
};

const std::vector<Route> &routes() {
    using G = ApiGroup;
    using A = Access;
    static const std::vector<Route> table{
        {"GET", {"v1", "files"}, G::media, A::read, true, list_files},
        {"GET", {"v1", "files", "*", "details"}, G::media, A::read, true, file_details},
        {"GET", {"v1", "files", "*", "metadata"}, G::media, A::read, true, file_metadata},
        {"GET", {"v1", "files", "*", "versions"}, G::media, A::read, true, list_versions},
        {"GET", {"v1", "files", "*", "versions", "*"}, G::media, A::read, true, version_details},
        {"GET", {"v1", "metadata"}, G::media, A::read, true, metadata_by_url},
        {"DELETE", {"v1", "files", "*"}, G::media, A::write, true, delete_file},
        {"DELETE", {"v1", "files", "*", "versions", "*"}, G::media, A::write, true, delete_version},
        {"POST", {"v1", "files", "batch", "deleteByFileIds"}, G::media, A::write, true, bulk_delete},
        {"PUT", {"v1", "files", "rename"}, G::media, A::write, true, rename_file},
        {"POST", {"v1", "files", "move"}, G::media, A::write, true, move_file},
        {"POST", {"v1", "files", "copy"}, G::media, A::write, true, copy_file},
        {"POST", {"v1", "folder"}, G::media, A::write, true, create_folder},
        {"DELETE", {"v1", "folder"}, G::media, A::write, true, delete_folder},
        {"POST", {"v1", "files", "purge"}, G::cache, A::write, true, purge_cache},
        {"GET", {"v1", "files", "purge", "*"}, G::cache, A::read, true, purge_status},
        {"GET", {"v1", "accounts", "usage"}, G::account, A::read, true, account_usage},
        {"GET", {"v1", "accounts", "url-endpoints"}, G::account, A::read, true, url_endpoints},
        {"POST", {"api", "v1", "files", "upload"}, G::media, A::write, false, upload_file},
    };
    return table;
}

bool fits(const Route &route, const std::string &method, const std::vector<std::string> &segments,
          std::vector<std::string> &args) {
    if (method != route.method || segments.size() != route.pattern.size())
        return false;
    args.clear();
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (route.pattern[i] == "*")
            args.push_back(segments[i]);
        else if (route.pattern[i] != segments[i])
            return false;
    }
    return true;
}

Reply html_reply(int status, const std::string &text) {
    Reply reply;
    reply.status = status;
    reply.content_type = "text/html; charset=utf-8";
    reply.body = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Error</title></head>\n"
                 "<body>\n<pre>" + text + "</pre>\n</body>\n</html>\n";
    return reply;
}

// What is not the API's answers like a web site: nothing about it may be read as "that file is gone".
Reply foreign_reply(const Request &request, const std::vector<std::string> &segments) {
    const bool below_files = segments.size() >= 2 && segments[0] == "v1" && segments[1] == "files";
    if (below_files && request.method != "GET" && request.method != "HEAD")
        return html_reply(403, "ForbiddenError: invalid csrf token");
    return html_reply(404, "Cannot " + request.method + " this path");
}

void rate_headers(Reply &reply, const TokenBucket &bucket, std::int64_t wait_ms) {
    reply.set_header("X-RateLimit-Limit", std::to_string(static_cast<long long>(bucket.rate > 0 ? bucket.burst : 100)));
    reply.set_header("X-RateLimit-Reset", std::to_string(wait_ms));
    reply.set_header("X-RateLimit-Interval", "1000");
}

}  // namespace

std::string compact_json(const Json::Value &value) {
    static const Json::StreamWriterBuilder builder = [] {
        Json::StreamWriterBuilder b;
        b["indentation"] = "";
        b["emitUTF8"] = true;
        return b;
    }();
    return Json::writeString(builder, value);
}

Reply json_reply(int status, const Json::Value &body) {
    Reply reply;
    reply.status = status;
    reply.content_type = json_type;
    reply.body = compact_json(body);
    return reply;
}

Reply error_reply(const ApiError &error) {
    Json::Value body(Json::objectValue);
    if (!error.reason.empty())
        body["reason"] = error.reason;
    body["message"] = error.what();
    if (error.status != 429)  // the one error whose documented shape has no help text
        body["help"] = help;
    for (const std::string &name : error.extra.getMemberNames())
        body[name] = error.extra[name];
    return json_reply(error.status, body);
}

Json::Value json_body(const Request &request) {
    static const Json::CharReaderBuilder builder = [] {
        Json::CharReaderBuilder b;
        Json::CharReaderBuilder::strictMode(&b.settings_);
        return b;
    }();
    Json::Value out(Json::objectValue);
    if (request.content_type.find("json") == std::string::npos)
        return out;
    const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
    std::string errors;
    const char *start = request.body.data();
    if (!reader->parse(start, start + request.body.size(), &out, &errors) || !out.isObject())
        throw ApiError(400, "Your request body is not a valid JSON object.");
    return out;
}

File *file_of(Call &call, const std::string &id) {
    const auto parsed = parse_id(id);
    if (!parsed)
        throw ApiError(400, "Your request contains invalid fileId parameter.");
    File *file = call.account.library.find(*parsed);
    if (!file)
        throw ApiError(404, "The requested file does not exist.");
    return file;
}

ApiAnswer answer_api(State &state, const Request &request) {
    const std::vector<std::string> segments = split_path(request.path);
    std::vector<std::string> args;
    const Route *route = nullptr;
    for (const Route &candidate : routes()) {
        if (fits(candidate, request.method, segments, args)) {
            route = &candidate;
            break;
        }
    }
    if (!route)
        return {foreign_reply(request, segments)};

    const std::lock_guard<std::mutex> lock(state.mutex);
    const Identity identity = state.accounts.identify(request);
    if (identity.status != 0)
        return {error_reply(ApiError(identity.status, identity.message))};
    Account &account = *identity.account;
    if (!identity.key->allows(route->group, route->access))
        return {error_reply(ApiError(state.switches.restricted_status,
                                     "Your private API key does not have permission for this request."))};

    const bool reading = route->access == Access::read;
    TokenBucket &bucket = reading ? account.reads : account.writes;
    std::int64_t wait_ms = 0;
    if (route->limited && !bucket.take(monotonic_ms(), wait_ms)) {
        Reply reply = error_reply(ApiError(429, "rate limit exceeded"));
        if (state.switches.rate_headers != "never")
            rate_headers(reply, bucket, wait_ms);
        return {reply};
    }

    ApiAnswer out;
    out.executed = true;
    Call call{request, state, account, std::move(args), service_ms()};
    account.library.set_linger(state.switches.index_delay_deleted_ms);
    const std::size_t before = account.library.size();
    try {
        out.reply = route->handler(call);
    } catch (const ApiError &error) {
        out.reply = error_reply(error);
    } catch (const Json::Exception &) {  // a member of another type than the call expects
        out.reply = error_reply(ApiError(400, "Your request contains an invalid parameter."));
    }
    out.removed = std::move(call.removed);
    out.deleted = before - std::min(before, account.library.size());
    if (route->limited && state.switches.rate_headers == "always")
        rate_headers(out.reply, bucket, 1000);
    return out;
}

}  // namespace ikemu
