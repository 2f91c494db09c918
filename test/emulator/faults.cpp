// Fault rules: parsing, matching, counting; and the place where stalled requests wait.
#include "faults.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>

#include "times.h"

namespace ikemu {

namespace {

const char html_502[] =
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "</body>\r\n</html>\r\n";
const char json_type[] = "application/json; charset=utf-8";

std::string error_body(const std::string &message) {
    return "{\"message\":\"" + message + "\",\"help\":\"For support kindly contact us at support@imagekit.io .\"}";
}

// Kinds that are only a fixed answer with a known status and body.
struct Fixed {
    int status;
    const char *content_type;
    std::string body;
};

const std::map<std::string, Fixed> &fixed_answers() {
    static const std::map<std::string, Fixed> table{
        {"unauthorized", {401, json_type, error_body("Your request does not contain private API key.")}},
        {"forbidden", {403, json_type, error_body("Your account cannot be authenticated.")}},
        {"expired", {403, json_type, error_body("Your request contains expired private API key.")}},
        {"disabled", {403, json_type, error_body("Your account is disabled.")}},
        {"bulk_job",
         {423, json_type, error_body("A bulk job is running on given folder path, please try after sometime.")}},
        {"rate_limited", {429, json_type, "{\"message\":\"rate limit exceeded\"}"}},
        {"text_500", {500, "text/plain", "Internal server error"}},
        {"html_502", {502, "text/html", html_502}},
        {"html_404", {404, "text/html", "<!DOCTYPE html>\n<html><body><pre>Not Found</pre></body></html>\n"}},
    };
    return table;
}

const std::map<std::string, FaultKind> &kinds() {
    static const std::map<std::string, FaultKind> table{
        {"status", FaultKind::status},
        {"reset_before", FaultKind::reset_before},
        {"reset_after", FaultKind::reset_after},
        {"stall", FaultKind::stall},
        {"stall_after", FaultKind::stall_after},
        {"slow_body", FaultKind::slow_body},
        {"truncated_json", FaultKind::truncated_json},
        {"cut_body", FaultKind::cut_body},
        {"huge_body", FaultKind::huge_body},
        {"wrong_content_type", FaultKind::wrong_content_type},
        {"headers", FaultKind::headers},
        {"latency", FaultKind::latency},
    };
    return table;
}

std::string compact(const Json::Value &value) {
    Json::StreamWriterBuilder builder;
    builder["indentation"] = "";
    return Json::writeString(builder, value);
}

Fault fault_of(const Json::Value &rule) {
    Fault out;
    out.kind_name = rule.get("kind", "status").asString();
    const auto fixed = fixed_answers().find(out.kind_name);
    const auto kind = kinds().find(out.kind_name);
    if (fixed != fixed_answers().end()) {
        out.status = fixed->second.status;
        out.content_type = fixed->second.content_type;
        out.body = fixed->second.body;
    } else if (kind != kinds().end()) {
        out.kind = kind->second;
        out.content_type = out.kind == FaultKind::wrong_content_type ? "text/html" : json_type;
    } else {
        throw std::invalid_argument("unknown kind of fault: " + out.kind_name);
    }
    if (out.kind_name == "rate_limited") {
        out.headers.emplace_back("X-RateLimit-Limit", std::to_string(rule.get("limit", 5).asInt()));
        out.headers.emplace_back("X-RateLimit-Reset", std::to_string(rule.get("reset", 1000).asInt64()));
        out.headers.emplace_back("X-RateLimit-Interval", std::to_string(rule.get("interval", 1000).asInt64()));
        if (rule.isMember("retry_after"))
            out.headers.emplace_back("Retry-After", rule["retry_after"].asString());
    }
    out.status = rule.get("status", out.status).asInt();
    if (out.status < 100 || out.status > 599)
        throw std::invalid_argument("status out of range");
    out.content_type = rule.get("content_type", out.content_type).asString();
    if (rule.isMember("json"))
        out.body = compact(rule["json"]);
    else if (rule.isMember("body"))
        out.body = rule["body"].asString();
    for (const std::string &name : rule["headers"].getMemberNames())
        out.headers.emplace_back(name, rule["headers"][name].asString());
    out.ms = rule.get("ms", 0).asInt64();
    out.bytes = static_cast<std::size_t>(rule.get("bytes", 64 * 1024 * 1024).asUInt64());
    out.late = rule.get("late", false).asBool();
    return out;
}

// "", "DELETE", or several as "DELETE|POST".
bool is_method(const std::string &wanted, const std::string &method) {
    return wanted.empty() || ("|" + wanted + "|").find("|" + method + "|") != std::string::npos;
}

}  // namespace

std::uint64_t Faults::add(const Json::Value &json) {
    static const std::string known[] = {"kind",  "method", "path",         "prefix",  "contains", "account", "count",
                                        "every", "skip",   "status",       "body",    "json",     "headers", "ms",
                                        "bytes", "late",   "content_type", "limit",   "reset",    "interval",
                                        "retry_after"};
    if (!json.isObject())
        throw std::invalid_argument("a fault rule is an object");
    for (const std::string &name : json.getMemberNames()) {
        bool found = false;
        for (const std::string &field : known)
            found = found || field == name;
        if (!found)
            throw std::invalid_argument("unknown field of a fault rule: " + name);
    }
    Rule rule;
    rule.fault = fault_of(json);
    rule.method = json["method"].asString();
    rule.prefix = json["prefix"].asString();
    rule.account = json["account"].asString();
    rule.contains = json["contains"].asString();
    rule.path_text = json["path"].asString();
    if (!rule.path_text.empty()) {
        try {
            rule.path.emplace(rule.path_text, std::regex::ECMAScript | std::regex::optimize);
        } catch (const std::regex_error &) {
            throw std::invalid_argument("path is not a regular expression: " + rule.path_text);
        }
    }
    // "Every Kth" goes on for ever unless a count is given as well.
    rule.every = std::max<std::int64_t>(1, json.get("every", 1).asInt64());
    rule.count = json.get("count", rule.every > 1 ? 0 : 1).asInt64();
    rule.skip = json.get("skip", 0).asInt64();
    const std::lock_guard<std::mutex> lock(mutex_);
    rule.fault.id = next_id_++;
    rules_.push_back(std::move(rule));
    return rules_.back().fault.id;
}

bool Faults::remove(std::uint64_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::size_t before = rules_.size();
    rules_.remove_if([id](const Rule &rule) { return rule.fault.id == id; });
    return rules_.size() != before;
}

void Faults::clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    rules_.clear();
}

Json::Value Faults::list() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    Json::Value out(Json::arrayValue);
    for (const Rule &rule : rules_) {
        Json::Value item(Json::objectValue);
        item["id"] = static_cast<Json::UInt64>(rule.fault.id);
        item["kind"] = rule.fault.kind_name;
        item["method"] = rule.method;
        item["path"] = rule.path_text;
        item["prefix"] = rule.prefix;
        item["seen"] = static_cast<Json::Int64>(rule.seen);
        item["hits"] = static_cast<Json::Int64>(rule.hits);
        item["spent"] = rule.spent();
        out.append(item);
    }
    return out;
}

std::optional<Fault> Faults::match(const Request &request, const std::string &account) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Rule &rule : rules_) {
        if (rule.spent() || !is_method(rule.method, request.method) ||
            (!rule.account.empty() && rule.account != account) ||
            request.path.compare(0, rule.prefix.size(), rule.prefix) != 0 ||
            (rule.path && !std::regex_search(request.path, *rule.path)))
            continue;
        if (!rule.contains.empty() && request.body.find(rule.contains) == std::string::npos &&
            request.path.find(rule.contains) == std::string::npos) {
            bool in_query = false;
            for (const auto &[name, value] : request.query)
                in_query = in_query || value.find(rule.contains) != std::string::npos;
            if (!in_query)
                continue;
        }
        ++rule.seen;
        if (rule.seen <= rule.skip || (rule.seen - rule.skip) % rule.every != 0)
            continue;
        ++rule.hits;
        return rule.fault;
    }
    return std::nullopt;
}

void Faults::stall(std::int64_t ms, const std::function<bool()> &client_gone) {
    const std::int64_t until = monotonic_ms() + ms;
    std::unique_lock<std::mutex> lock(mutex_);
    const std::uint64_t release = releases_;
    ++stalled_;
    while (releases_ == release && (ms == 0 || monotonic_ms() < until)) {
        const std::int64_t left = ms == 0 ? 50 : std::clamp<std::int64_t>(until - monotonic_ms(), 1, 50);
        released_.wait_for(lock, std::chrono::milliseconds(left));
        if (client_gone) {
            lock.unlock();
            const bool gone = client_gone();
            lock.lock();
            if (gone)
                break;
        }
    }
    --stalled_;
}

int Faults::release() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++releases_;
    released_.notify_all();
    return stalled_;
}

int Faults::stalled() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stalled_;
}

}  // namespace ikemu
