// A request and a reply as the emulator sees them, free of any HTTP library, so that everything but the socket can be
// tested by calling a function. The private key travels only in `authorization`; nothing else may keep it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ikemu {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// One part of a multipart upload.
struct FormPart {
    std::string name;
    std::string file_name;
    std::string content;
};

struct Request {
    std::string method;
    std::string path;  // as sent, still percent-encoded, without the query
    Pairs query;       // decoded, in the order sent
    bool has_authorization = false;
    std::string authorization;
    std::string content_type;
    std::string body;
    std::vector<FormPart> form;
    // Asks the transport whether the client has hung up; empty in unit tests.
    std::function<bool()> client_gone;

    // The first value of a query parameter, or null when it was not sent.
    const std::string *param(const std::string &name) const;
};

// How the transport delivers the body.
enum class Delivery {
    whole,
    abort,      // no answer at all: the connection is reset
    slow,       // the body is spread over `delivery_ms`
    cut_short,  // the length of the whole body is announced, half is sent, then the connection is reset
    filler      // `filler_bytes` of valid but useless JSON
};

struct Reply {
    int status = 200;
    std::string content_type;
    std::string body;
    Pairs headers;
    Delivery delivery = Delivery::whole;
    std::int64_t delivery_ms = 0;
    std::size_t filler_bytes = 0;

    void set_header(const std::string &name, const std::string &value);
};

// Percent-decoding. `plus_is_space` belongs to query strings only: in a path a plus is a plus.
std::string percent_decode(const std::string &text, bool plus_is_space);
// Percent-encoding of one path segment or query value.
std::string percent_encode(const std::string &text);
Pairs parse_query(const std::string &query);
// The decoded segments of a path; a trailing slash gives no segment of its own.
std::vector<std::string> split_path(const std::string &path);

}  // namespace ikemu
