// Authentication and the account part of the control API.
#include "accounts.h"

#include <algorithm>
#include <stdexcept>

namespace ikemu {

namespace {

const char no_key[] = "Your request does not contain private API key.";

// The user name of HTTP Basic credentials: what precedes the first colon. The password is ignored, as the service does.
bool basic_user(const std::string &header, std::string &user) {
    static const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (header.size() < 7 || (header.compare(0, 6, "Basic ") != 0 && header.compare(0, 6, "basic ") != 0))
        return false;
    std::string decoded;
    unsigned bits = 0;
    int have = 0;
    for (char c : header.substr(6)) {
        if (c == '=' || c == ' ')
            continue;
        const std::size_t value = alphabet.find(c);
        if (value == std::string::npos)
            return false;
        bits = bits << 6 | static_cast<unsigned>(value);
        have += 6;
        if (have >= 8) {
            have -= 8;
            decoded.push_back(static_cast<char>(bits >> have & 0xff));
        }
    }
    const std::size_t colon = decoded.find(':');
    if (colon == std::string::npos)
        return false;
    user = decoded.substr(0, colon);
    return !user.empty();
}

Access access_of(const Json::Value &value) {
    const std::string text = value.asString();
    if (text == "none")
        return Access::none;
    if (text == "read")
        return Access::read;
    if (text == "write")
        return Access::write;
    throw std::invalid_argument("a right is none, read or write");
}

PrivateKey key_of(const Json::Value &value) {
    PrivateKey out;
    out.key = value.isObject() ? value["key"].asString() : value.asString();
    if (out.key.empty() || out.key.find(':') != std::string::npos)
        throw std::invalid_argument("a key is a text without a colon");
    if (!value.isObject())
        return out;
    out.expired = value["expired"].asBool();
    const Json::Value &rights = value["rights"];
    if (rights.isObject()) {
        // A restricted key: what is not named is not allowed.
        out.media = access_of(rights.get("media", "none"));
        out.cache = access_of(rights.get("cache", "none"));
        out.account = access_of(rights.get("account", "none"));
    }
    return out;
}

}  // namespace

bool PrivateKey::allows(ApiGroup group, Access wanted) const {
    const Access have = group == ApiGroup::media ? media : group == ApiGroup::cache ? cache : account;
    return static_cast<int>(have) >= static_cast<int>(wanted);
}

void Account::configure(const Json::Value &change) {
    std::vector<PrivateKey> next = keys;
    const auto drop = [&](const std::string &key) {
        next.erase(std::remove_if(next.begin(), next.end(), [&](const PrivateKey &k) { return k.key == key; }),
                   next.end());
    };
    if (change.isMember("keys")) {
        next.clear();
        for (const Json::Value &key : change["keys"])
            next.push_back(key_of(key));
    }
    for (const Json::Value &key : change["add_keys"]) {
        const PrivateKey added = key_of(key);
        drop(added.key);
        next.push_back(added);
    }
    for (const Json::Value &key : change["revoke_keys"])
        drop(key.asString());
    for (const Json::Value &key : change["expire_keys"])
        for (PrivateKey &known : next)
            if (known.key == key.asString())
                known.expired = true;
    keys = std::move(next);
    if (change.isMember("disabled"))
        disabled = change["disabled"].asBool();
    if (change.isMember("domains")) {
        domains.clear();
        for (const Json::Value &domain : change["domains"])
            domains.push_back(domain.asString());
    }
    if (change.isMember("url_endpoints"))
        url_endpoints = change["url_endpoints"];
}

Accounts::Accounts(Defaults defaults) : defaults_(std::move(defaults)) {
    reset();
}

void Accounts::reset() {
    accounts_.clear();
    for (const auto &[name, key] : defaults_) {
        PrivateKey full;
        full.key = key;
        find_or_add(name).keys.push_back(full);
    }
}

Account *Accounts::find(const std::string &name) const {
    const auto it = accounts_.find(name);
    return it == accounts_.end() ? nullptr : it->second.get();
}

Account &Accounts::find_or_add(const std::string &name) {
    auto &slot = accounts_[name];
    if (!slot) {
        slot = std::make_unique<Account>();
        slot->name = name;
        Json::Value endpoint(Json::objectValue);
        endpoint["id"] = "default";
        endpoint["description"] = "Default endpoint";
        endpoint["urlPrefix"] = "";
        endpoint["origins"] = Json::Value(Json::arrayValue);
        slot->url_endpoints = Json::Value(Json::arrayValue);
        slot->url_endpoints.append(endpoint);
    }
    return *slot;
}

Account *Accounts::chosen(const std::string &name) const {
    return find(name.empty() ? defaults_.front().first : name);
}

Identity Accounts::identify(const Request &request) const {
    Identity out;
    std::string user;
    if (!request.has_authorization || !basic_user(request.authorization, user)) {
        out.status = 401;
        out.message = no_key;
        return out;
    }
    out.status = 403;
    out.message = "Your account cannot be authenticated.";
    for (const auto &[name, account] : accounts_) {
        for (const PrivateKey &key : account->keys) {
            if (key.key != user)
                continue;
            out.account = account.get();
            out.key = &key;
            if (key.expired)
                out.message = "Your request contains expired private API key.";
            else if (account->disabled)
                out.message = "Your account is disabled.";
            else
                out.status = 0;
            return out;
        }
    }
    return out;
}

std::string Accounts::without_keys(std::string text) const {
    for (const auto &[name, account] : accounts_) {
        for (const PrivateKey &key : account->keys) {
            for (std::size_t at = text.find(key.key); at != std::string::npos; at = text.find(key.key, at + 3))
                text.replace(at, key.key.size(), "***");
        }
    }
    return text;
}

}  // namespace ikemu
