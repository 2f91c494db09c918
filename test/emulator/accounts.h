// Accounts, their private keys and what each key may do. A key is compared and then forgotten: no answer of the
// emulator, the control API included, ever contains one.
#pragma once

#include <json/json.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "library.h"
#include "message.h"
#include "rate_limit.h"

namespace ikemu {

enum class ApiGroup { media, cache, account };
enum class Access { none, read, write };

struct PrivateKey {
    std::string key;
    bool expired = false;
    Access media = Access::write;
    Access cache = Access::write;
    Access account = Access::write;

    bool allows(ApiGroup group, Access wanted) const;
};

struct Account {
    std::string name;
    bool disabled = false;
    std::vector<PrivateKey> keys;
    std::vector<std::string> domains;  // hosts bound to this account besides ik.imagekit.io/NAME
    Json::Value url_endpoints;
    Library library;
    TokenBucket reads, writes;
    int purges = 0;

    // Changes keys, `disabled`, `domains`, `url_endpoints` as README.md says. Throws std::invalid_argument.
    void configure(const Json::Value &change);
};

// The outcome of looking at a request's credentials: an account and key, or the refusal to answer with.
struct Identity {
    Account *account = nullptr;
    const PrivateKey *key = nullptr;
    int status = 0;
    std::string message;
};

class Accounts {
  public:
    using Defaults = std::vector<std::pair<std::string, std::string>>;  // name, key

    explicit Accounts(Defaults defaults);
    void reset();
    Account *find(const std::string &name) const;
    Account &find_or_add(const std::string &name);
    // The account meant by a control request: the named one, or the first of the command line for an empty name.
    Account *chosen(const std::string &name) const;

    Identity identify(const Request &request) const;
    // `text` with every known key masked, for the journal.
    std::string without_keys(std::string text) const;

  private:
    Defaults defaults_;
    std::map<std::string, std::unique_ptr<Account>> accounts_;
};

}  // namespace ikemu
