// The life of a request: journal, latency, fault, execution, what the fault does to the answer, journal again.
#include "emulator.h"

#include <chrono>
#include <functional>
#include <thread>

#include "control.h"
#include "times.h"

namespace ikemu {

namespace {

Reply reset_connection() {
    Reply reply;
    reply.status = 0;
    reply.delivery = Delivery::abort;
    return reply;
}

// The headers of every answer of the API. A page of HTML or plain text is not the API's own, so it has none of them.
void add_common_headers(Reply &reply, bool dated) {
    if (!reply.body.empty() && reply.content_type.compare(0, 16, "application/json") != 0)
        return;
    reply.set_header("x-ik-requestid", random_uuid());
    reply.set_header("x-request-id", random_uuid());
    reply.set_header("access-control-allow-origin", "*");
    if (dated)
        reply.set_header("date", http_date(service_ms()));
    reply.set_header("strict-transport-security", "max-age=15552000");
    if (!reply.body.empty())
        reply.set_header("etag", "W/\"" + std::to_string(reply.body.size()) + "-" +
                                     std::to_string(std::hash<std::string>()(reply.body)) + "\"");
}

bool is_control(const std::string &path) {
    return path == "/_control" || path.compare(0, 10, "/_control/") == 0;
}

}  // namespace

Emulator::Emulator(Accounts::Defaults accounts) : state(std::move(accounts)) {}

Reply Emulator::handle(const Request &request) {
    {
        const std::lock_guard<std::mutex> lock(state.mutex);
        set_service_offset(state.switches.clock_offset_ms);
    }
    return is_control(request.path) ? handle_control(*this, request) : handle_api(request);
}

Reply Emulator::handle_api(const Request &request) {
    TallyEntry counted;
    counted.arrived_us = wall_us();
    counted.write = request.method != "GET";
    JournalEntry entry;
    entry.wall_us = counted.arrived_us;
    entry.method = request.method;
    std::int64_t latency = 0;
    bool dated = false;
    {
        const std::lock_guard<std::mutex> lock(state.mutex);
        const Identity identity = state.accounts.identify(request);
        entry.account = identity.account ? identity.account->name : "";
        entry.path = state.accounts.without_keys(request.path);
        for (const auto &[name, value] : request.query)
            entry.query.emplace_back(state.accounts.without_keys(name), state.accounts.without_keys(value));
        entry.body = request.form.empty() ? state.accounts.without_keys(request.body.substr(0, 65536))
                                          : "multipart, " + std::to_string(request.form.size()) + " parts";
        latency = state.switches.latency_ms;
        dated = state.switches.date_header == "on";
    }
    const std::string account = entry.account;
    const std::uint64_t seq = journal.begin(std::move(entry));
    if (latency > 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(latency));

    const std::optional<Fault> fault = faults.match(request, account);
    const std::string fault_name = fault ? fault->kind_name : "";
    const auto finish = [&](Reply reply, bool executed, std::size_t deleted = 0, std::vector<std::string> removed = {}) {
        journal.end(seq, reply.status, account, fault_name, executed, deleted, std::move(removed));
        counted.ended_us = wall_us();
        counted.status = static_cast<std::int16_t>(reply.status);
        counted.deleted = static_cast<std::uint32_t>(deleted);
        tally.add(counted, account);
        return reply;
    };
    if (fault) {
        if (fault->kind == FaultKind::reset_before)
            return finish(reset_connection(), false);
        if (fault->kind == FaultKind::status) {
            Reply reply;
            reply.status = fault->status;
            reply.content_type = fault->content_type;
            reply.body = fault->body;
            add_common_headers(reply, dated);
            spoil(reply, *fault);
            return finish(std::move(reply), false);
        }
        if (fault->kind == FaultKind::latency)
            std::this_thread::sleep_for(std::chrono::milliseconds(fault->ms));
        if (fault->kind == FaultKind::stall) {
            faults.stall(fault->ms, request.client_gone);
            if (!fault->late && request.client_gone && request.client_gone())
                return finish(reset_connection(), false);
        }
    }

    ApiAnswer answer = answer_api(state, request);
    Reply &reply = answer.reply;
    add_common_headers(reply, dated);
    if (!fault)
        return finish(std::move(reply), answer.executed, answer.deleted, std::move(answer.removed));
    if (fault->kind == FaultKind::stall_after) {
        faults.stall(fault->ms, request.client_gone);
        if (request.client_gone && request.client_gone())
            return finish(reset_connection(), answer.executed, answer.deleted, std::move(answer.removed));
    }
    if (fault->kind == FaultKind::reset_after)
        return finish(reset_connection(), answer.executed, answer.deleted, std::move(answer.removed));
    spoil(reply, *fault);
    return finish(std::move(reply), answer.executed, answer.deleted, std::move(answer.removed));
}

void Emulator::spoil(Reply &reply, const Fault &fault) {
    for (const auto &[name, value] : fault.headers)
        reply.set_header(name, value);
    switch (fault.kind) {
        case FaultKind::slow_body:
            reply.delivery = Delivery::slow;
            reply.delivery_ms = fault.ms;
            break;
        case FaultKind::truncated_json:
            reply.body.resize(reply.body.size() / 2);
            break;
        case FaultKind::cut_body:
            reply.delivery = Delivery::cut_short;
            break;
        case FaultKind::huge_body:
            reply.delivery = Delivery::filler;
            reply.filler_bytes = fault.bytes;
            break;
        case FaultKind::wrong_content_type:
            reply.content_type = fault.content_type;
            break;
        default:
            break;
    }
}

}  // namespace ikemu
