// Tokens of the search grammar. Quotes and backslashes follow the dialect.
#include "search_lexer.h"

#include <cctype>

namespace ikemu {

namespace {

const char refer[] = " Please refer to the documentation for syntax specification.";

bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-' ||
           static_cast<unsigned char>(c) >= 0x80;
}

SearchToken quoted(const std::string &query, std::size_t &at, const SearchDialect &dialect) {
    const char quote = query[at++];
    SearchToken token{SearchToken::Kind::text, ""};
    while (at < query.size() && query[at] != quote) {
        if (query[at] == '\\') {
            if (!dialect.backslash_escape)
                throw SearchError(std::string("backslash is not allowed in a value.") + refer);
            if (++at == query.size())
                break;
        }
        token.text.push_back(query[at++]);
    }
    if (at == query.size())
        throw SearchError(std::string("a quote is not closed.") + refer);
    ++at;
    return token;
}

}  // namespace

std::vector<SearchToken> search_tokens(const std::string &query, const SearchDialect &dialect) {
    std::vector<SearchToken> out;
    std::size_t at = 0;
    while (at < query.size()) {
        const char c = query[at];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            ++at;
        } else if (c == '"' || (c == '\'' && dialect.single_quotes)) {
            out.push_back(quoted(query, at, dialect));
        } else if (c == '\'') {
            throw SearchError(std::string("make sure the value is enclosed within double quotes.") + refer);
        } else if ((c == '<' || c == '>') && at + 1 < query.size() && query[at + 1] == '=') {
            out.push_back({SearchToken::Kind::mark, query.substr(at, 2)});
            at += 2;
        } else if (std::string("()[],=:<>").find(c) != std::string::npos) {
            out.push_back({SearchToken::Kind::mark, std::string(1, c)});
            ++at;
        } else if (is_word(c)) {
            const std::size_t start = at;
            while (at < query.size() && is_word(query[at]))
                ++at;
            out.push_back({SearchToken::Kind::word, query.substr(start, at - start)});
        } else {
            throw SearchError("unexpected character '" + std::string(1, c) + "'." + refer);
        }
    }
    out.push_back({SearchToken::Kind::end, ""});
    return out;
}

}  // namespace ikemu
