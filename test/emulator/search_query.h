// The search grammar: text in, a tree of checked terms out. What the service leaves open is a SearchDialect, set by the
// switches. Everything that can be refused is refused here, so that matching cannot fail.
//
//   query  := all { OR all }          AND binds tighter than OR (undocumented: clients should use parentheses)
//   all    := factor { AND factor }
//   factor := "(" query ")" | field operator value
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace ikemu {

enum class Field {
    name,
    path,
    id,
    type,
    created_at,
    updated_at,
    size,
    width,
    height,
    format,
    tags,
    is_private,
    published,
    transparency,
    created_by,
    custom_metadata,
    embedded_metadata
};

enum class Op { equal, prefix, less, less_equal, greater, greater_equal, in, not_in, not_equal, has, exists, not_exists };

struct SearchValue {
    enum class Kind { text, number, boolean };
    Kind kind = Kind::text;
    std::string text;
    double number = 0;  // dates in ms, sizes in bytes
    bool boolean = false;
};

struct SearchTerm {
    Field field = Field::name;
    std::string member;  // x of customMetadata.x
    Op op = Op::equal;
    std::vector<SearchValue> values;
};

struct SearchNode {
    enum class Kind { term, all, any };
    Kind kind = Kind::all;
    SearchTerm term;
    std::vector<SearchNode> children;
};

struct SearchDialect {
    bool single_quotes = false;      // 'x' is a string
    bool backslash_escape = false;   // \" and \\ within a string
    bool path_without_slash = true;  // path = "/a" means "/a/"
};

// The reason, without the lead "Invalid search query - ".
class SearchError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// `now` anchors relative dates. Throws SearchError.
SearchNode parse_search_query(const std::string &text, const SearchDialect &dialect, std::int64_t now);

}  // namespace ikemu
