// Percent-encoding and the small look-ups of requests and replies.
#include "message.h"

#include <cctype>

namespace ikemu {

const std::string *Request::param(const std::string &name) const {
    for (const auto &[key, value] : query)
        if (key == name)
            return &value;
    return nullptr;
}

void Reply::set_header(const std::string &name, const std::string &value) {
    for (auto &[key, old] : headers) {
        if (key == name) {
            old = value;
            return;
        }
    }
    headers.emplace_back(name, value);
}

namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

}  // namespace

std::string percent_decode(const std::string &text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
            out.push_back(static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2])));
            i += 2;
        } else if (text[i] == '+' && plus_is_space) {
            out.push_back(' ');
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

std::string percent_encode(const std::string &text) {
    static const char digits[] = "0123456789ABCDEF";
    std::string out;
    out.reserve(text.size() + 8);
    for (unsigned char c : text) {
        if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
            out.push_back(static_cast<char>(c));
        } else {
            out.push_back('%');
            out.push_back(digits[c >> 4]);
            out.push_back(digits[c & 15]);
        }
    }
    return out;
}

Pairs parse_query(const std::string &query) {
    Pairs out;
    std::size_t start = 0;
    while (start < query.size()) {
        std::size_t end = query.find('&', start);
        if (end == std::string::npos)
            end = query.size();
        const std::string item = query.substr(start, end - start);
        const std::size_t equal = item.find('=');
        if (equal != std::string::npos)
            out.emplace_back(percent_decode(item.substr(0, equal), true), percent_decode(item.substr(equal + 1), true));
        else if (!item.empty())
            out.emplace_back(percent_decode(item, true), std::string());
        start = end + 1;
    }
    return out;
}

std::vector<std::string> split_path(const std::string &path) {
    std::vector<std::string> out;
    std::size_t start = path.empty() || path[0] != '/' ? 0 : 1;
    while (start < path.size()) {
        std::size_t end = path.find('/', start);
        if (end == std::string::npos)
            end = path.size();
        out.push_back(percent_decode(path.substr(start, end - start), false));
        start = end + 1;
    }
    return out;
}

}  // namespace ikemu
