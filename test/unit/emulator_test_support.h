// The repository's ImageKit emulator behind a socket, in the test's own process, and short ways to set it up.
//
// There is one for all tests, because a server that listens cannot be taken down again; each test begins with a new
// library, without switches, faults and journal.

#ifndef IMAGEKIT_TEST_UNIT_EMULATOR_TEST_SUPPORT_H
#define IMAGEKIT_TEST_UNIT_EMULATOR_TEST_SUPPORT_H

#include <gtest/gtest.h>
#include <json/json.h>

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "api_test_support.h"
#include "emulator/emulator.h"
#include "emulator/http_server.h"

namespace imagekit::test {

class EmulatorTest : public testing::Test {
 protected:
  EmulatorTest() {
    Control("POST", "reset");
    Control("POST", "switches", R"({"date_header":"on"})");
  }

  static std::string Url() { return "http://127.0.0.1:" + std::to_string(Running().port); }

  static Json::Value Control(const std::string& method, const std::string& call, const std::string& body = "") {
    ikemu::Request request;
    request.method = method;
    const size_t question = call.find('?');
    request.path = "/_control/" + call.substr(0, question);
    if (question != std::string::npos) request.query = ikemu::parse_query(call.substr(question + 1));
    request.body = body;
    const ikemu::Reply reply = Running().emulator->handle(request);
    if (reply.status != 200) throw std::runtime_error(call + ": " + reply.body);
    Json::Value answer;
    std::istringstream(reply.body) >> answer;
    return answer;
  }

  static void Turn(const std::string& switches) { Control("POST", "switches", switches); }
  static void Fault(const std::string& rule) { Control("POST", "faults", rule); }

  /// Puts files into the library; returns their ids.
  static std::vector<std::string> Seed(const std::vector<std::string>& paths) {
    Json::Value list(Json::arrayValue);
    for (const std::string& path : paths) list.append(path);
    std::vector<std::string> ids;
    const Json::Value answer = Control("POST", "seed", list.toStyledString());
    for (const Json::Value& id : answer["fileIds"]) ids.push_back(id.asString());
    return ids;
  }

  /// The requests that have come, as "GET /v1/files".
  static std::vector<Json::Value> Requests(const std::string& method = "", const std::string& path = "") {
    std::vector<Json::Value> requests;
    const Json::Value journal = Control("GET", "journal?limit=100000&method=" + method + "&path=" + path);
    for (const Json::Value& entry : journal["entries"]) requests.push_back(entry);
    return requests;
  }
  static size_t Searches() { return Requests("GET", "/v1/files").size(); }
  static int Count() { return Control("GET", "count")["count"].asInt(); }

  /// Answers by ticket; each ticket must be answered once.
  static std::map<uint64_t, Answer> ByTicket(ApiClient* client, size_t count) {
    std::map<uint64_t, Answer> answers;
    for (Answer& answer : TakeAnswers(client, count)) {
      EXPECT_TRUE(answers.emplace(answer.ticket, answer).second) << "ticket " << answer.ticket << " twice";
    }
    EXPECT_EQ(answers.size(), count);
    EXPECT_FALSE(client->Busy());
    return answers;
  }

 private:
  struct Server {
    Server()
        : emulator(new ikemu::Emulator(ikemu::Accounts::Defaults{{"acme", kKey}})),
          server(new ikemu::HttpServer(*emulator)) {
      port = server->bind(0);
      if (port == 0) throw std::runtime_error("the emulator cannot listen");
      std::thread([this] { server->serve(); }).detach();
    }
    ikemu::Emulator* emulator;
    ikemu::HttpServer* server;
    int port;
  };
  /// Never taken down: its threads go on to the end of the process.
  static Server& Running() {
    static auto* running = new Server;
    return *running;
  }
};

}  // namespace imagekit::test

#endif  // IMAGEKIT_TEST_UNIT_EMULATOR_TEST_SUPPORT_H
