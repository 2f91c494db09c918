// An emulator without a socket, and short ways to talk to it.
#pragma once

#include <gtest/gtest.h>
#include <json/json.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "emulator.h"

namespace ikemu {

inline Json::Value from_json(const std::string &text) {
    Json::Value out;
    std::istringstream in(text);
    std::string errors;
    if (!Json::parseFromStream(Json::CharReaderBuilder(), in, &out, &errors))
        ADD_FAILURE() << "not JSON: " << text;
    return out;
}

// Base64, as a client of the API needs it for its credentials.
inline std::string basic(const std::string &user_and_password) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out = "Basic ";
    for (std::size_t i = 0; i < user_and_password.size(); i += 3) {
        unsigned bits = 0;
        for (std::size_t k = 0; k < 3; ++k)
            bits = bits << 8 |
                   (i + k < user_and_password.size() ? static_cast<unsigned char>(user_and_password[i + k]) : 0u);
        for (std::size_t k = 0; k < 4; ++k)
            out += i + k <= user_and_password.size() ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

class EmulatorTest : public ::testing::Test {
  protected:
    Reply send(const std::string &method, const std::string &target, const std::string &body = "",
               const std::string &key = "private_test_acme") {
        Request request;
        request.method = method;
        const std::size_t question = target.find('?');
        request.path = target.substr(0, question);
        if (question != std::string::npos)
            request.query = parse_query(target.substr(question + 1));
        request.body = body;
        if (!body.empty())
            request.content_type = "application/json";
        if (!key.empty()) {
            request.has_authorization = true;
            request.authorization = basic(key + ":");
        }
        return emulator.handle(request);
    }

    Json::Value control(const std::string &method, const std::string &call, const std::string &body = "") {
        const Reply reply = send(method, "/_control/" + call, body, "");
        EXPECT_EQ(reply.status, 200) << reply.body;
        return from_json(reply.body);
    }

    std::vector<std::string> seed(const std::string &list) {
        std::vector<std::string> out;
        const Json::Value answer = control("POST", "seed", list);
        for (const Json::Value &id : answer["fileIds"])
            out.push_back(id.asString());
        return out;
    }

    void turn(const std::string &switches) { control("POST", "switches", switches); }

    // The paths (names of folders) of a list answer, in order, joined by spaces.
    std::string listed(const std::string &parameters) {
        const Reply reply = send("GET", "/v1/files?" + parameters);
        EXPECT_EQ(reply.status, 200) << reply.body;
        std::string out;
        if (reply.status != 200)
            return out;
        for (const Json::Value &item : from_json(reply.body))
            out += (out.empty() ? "" : " ") +
                   (item["type"] == "folder" ? item["folderPath"] : item["filePath"]).asString();
        return out;
    }

    std::string found(const std::string &query) { return listed("sort=ASC_NAME&searchQuery=" + percent_encode(query)); }

    // The message of a refused search.
    std::string refused(const std::string &query) {
        const Reply reply = send("GET", "/v1/files?searchQuery=" + percent_encode(query));
        EXPECT_EQ(reply.status, 400) << query << " gave " << reply.body;
        return message(reply);
    }

    static std::string message(const Reply &reply) { return from_json(reply.body)["message"].asString(); }

    int count() { return control("GET", "count")["count"].asInt(); }

    const std::string unknown = "0123456789abcdef01234567";
    Emulator emulator{Accounts::Defaults{{"acme", "private_test_acme"}}};
};

}  // namespace ikemu
