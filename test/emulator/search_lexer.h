// Splits a search query into tokens: quoted strings, bare words, and punctuation.
#pragma once

#include <string>
#include <vector>

#include "search_query.h"

namespace ikemu {

struct SearchToken {
    enum class Kind { word, text, mark, end };
    Kind kind = Kind::end;
    std::string text;
    bool is(const char *what) const { return kind != Kind::text && text == what; }
};

// The last token is always Kind::end. Throws SearchError.
std::vector<SearchToken> search_tokens(const std::string &query, const SearchDialect &dialect);

}  // namespace ikemu
