// Routing of the control API. Every answer is JSON; a request that makes no sense gets 400 with an "error".
#include "control.h"

#include <memory>
#include <stdexcept>

#include "control_seed.h"
#include "emulator.h"
#include "times.h"

namespace ikemu {

namespace {

Json::Value body_json(const Request &request) {
    if (request.body.empty())
        return Json::Value(Json::objectValue);
    static const Json::CharReaderBuilder builder;
    const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
    Json::Value out;
    std::string errors;
    const char *start = request.body.data();
    if (!reader->parse(start, start + request.body.size(), &out, &errors))
        throw std::invalid_argument("the body is not JSON: " + errors);
    return out;
}

std::string param(const Request &request, const char *name) {
    const std::string *value = request.param(name);
    return value ? *value : "";
}

Json::Value flag(const char *name, const Json::Value &value) {
    Json::Value out(Json::objectValue);
    out[name] = value;
    return out;
}

Json::Value read_journal(Emulator &emulator, const Request &request) {
    const std::string since = param(request, "since"), limit = param(request, "limit");
    return emulator.journal.read(since.empty() ? 0 : std::stoull(since), param(request, "method"),
                                 param(request, "path"), param(request, "account"),
                                 limit.empty() ? 100000 : std::stoul(limit));
}

Json::Value read_rates(Emulator &emulator, const Request &request) {
    const auto number = [&](const char *name, std::int64_t usual) {
        const std::string text = param(request, name);
        return text.empty() ? usual : static_cast<std::int64_t>(std::stoll(text));
    };
    return emulator.tally.read(param(request, "account"), number("since_us", 0), number("window_ms", 1000),
                               number("bucket_ms", 0));
}

Json::Value set_switches(Emulator &emulator, const Json::Value &body) {
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    emulator.state.switches.set(body);
    return emulator.state.switches.to_json();
}

Json::Value set_limits(Emulator &emulator, const Json::Value &body) {
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    Account *account = emulator.state.accounts.chosen(body["account"].asString());
    if (!account)
        throw std::invalid_argument("no such account");
    const double read = body.get("read_rate", account->reads.rate).asDouble();
    const double write = body.get("write_rate", account->writes.rate).asDouble();
    account->reads.configure(read, body.get("read_burst", read).asDouble());
    account->writes.configure(write, body.get("write_burst", write).asDouble());
    return flag("ok", true);
}

Json::Value set_account(Emulator &emulator, const Json::Value &body) {
    const std::string name = body["account"].asString();
    if (name.empty())
        throw std::invalid_argument("account is missing");
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    Account &account = emulator.state.accounts.find_or_add(name);
    account.configure(body);
    Json::Value out(Json::objectValue);
    out["account"] = name;
    out["keys"] = static_cast<Json::UInt64>(account.keys.size());
    out["disabled"] = account.disabled;
    return out;
}

Json::Value reset(Emulator &emulator) {
    emulator.faults.clear();
    emulator.faults.release();
    {
        const std::lock_guard<std::mutex> lock(emulator.state.mutex);
        emulator.state.accounts.reset();
        emulator.state.switches = Switches();
        emulator.state.purges.clear();
    }
    emulator.journal.clear();
    emulator.tally.clear();
    return flag("ok", true);
}

Json::Value health(Emulator &emulator) {
    Json::Value out(Json::objectValue);
    out["ok"] = true;
    out["stalled"] = emulator.faults.stalled();
    out["last_seq"] = static_cast<Json::UInt64>(emulator.journal.last_seq());
    out["ms"] = static_cast<Json::Int64>(monotonic_ms());
    return out;
}

Json::Value purges(Emulator &emulator) {
    const std::lock_guard<std::mutex> lock(emulator.state.mutex);
    Json::Value out(Json::arrayValue);
    for (const auto &[id, purge] : emulator.state.purges) {
        Json::Value entry(Json::objectValue);
        entry["requestId"] = id;
        entry["account"] = purge.account;
        entry["url"] = purge.url;
        out.append(entry);
    }
    return out;
}

Json::Value answer(Emulator &emulator, const Request &request) {
    std::string name = request.path.size() > 10 ? request.path.substr(10) : "";
    if (!name.empty() && name.back() == '/')
        name.pop_back();
    const bool post = request.method == "POST" || request.method == "PUT";
    const bool get = request.method == "GET", drop = request.method == "DELETE";
    if (get && name == "health")
        return health(emulator);
    if (get && name == "files")
        return show_files(emulator, request);
    if (get && name == "count")
        return count_files(emulator, request);
    if (get && name == "journal")
        return read_journal(emulator, request);
    if (get && name == "rates")
        return read_rates(emulator, request);
    if (get && name == "faults")
        return emulator.faults.list();
    if (get && name == "purges")
        return purges(emulator);
    if (get && name == "switches")
        return set_switches(emulator, Json::Value(Json::objectValue));
    if (post && name == "reset")
        return reset(emulator);
    if (post && name == "release")
        return flag("released", emulator.faults.release());
    if (drop && name == "journal") {
        emulator.journal.clear();
        emulator.tally.clear();
        return flag("last", static_cast<Json::UInt64>(emulator.journal.last_seq()));
    }
    if (drop && name == "faults") {
        emulator.faults.clear();
        return flag("ok", true);
    }
    if (drop && name.compare(0, 7, "faults/") == 0)
        return flag("ok", emulator.faults.remove(std::stoull(name.substr(7))));
    if (post) {
        const Json::Value body = body_json(request);
        if (name == "seed")
            return seed_files(emulator, body);
        if (!body.isObject())
            throw std::invalid_argument("an object is expected");
        if (name == "seed_many")
            return seed_many(emulator, body);
        if (name == "remove")
            return remove_files(emulator, body);
        if (name == "switches")
            return set_switches(emulator, body);
        if (name == "faults")
            return flag("id", static_cast<Json::UInt64>(emulator.faults.add(body)));
        if (name == "limits")
            return set_limits(emulator, body);
        if (name == "accounts")
            return set_account(emulator, body);
    }
    throw std::invalid_argument("no such control call: " + request.method + " " + request.path);
}

}  // namespace

Reply handle_control(Emulator &emulator, const Request &request) {
    try {
        return json_reply(200, answer(emulator, request));
    } catch (const std::exception &error) {  // a bad request, or JSON of another type than expected
        return json_reply(400, flag("error", error.what()));
    }
}

}  // namespace ikemu
