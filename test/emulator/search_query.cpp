// The parser of the search grammar: a recursive descent over tokens, and the table of what each field allows.
#include "search_query.h"

#include <cstdlib>
#include <map>

#include "library.h"
#include "search_lexer.h"
#include "times.h"

namespace ikemu {

namespace {

const char refer[] = " Please refer to the documentation for syntax specification.";

enum class ValueKind { text, path, date, size, number, boolean, tags, any };

struct FieldRule {
    Field field;
    ValueKind values;
    std::string operators;  // of "= : < IN != HAS EXISTS"; "<" stands for all four comparisons, IN for NOT IN too
};

const std::map<std::string, FieldRule> &rules() {
    static const std::map<std::string, FieldRule> table{
        {"name", {Field::name, ValueKind::text, "= : IN != HAS"}},
        {"path", {Field::path, ValueKind::path, "= : IN !="}},
        {"id", {Field::id, ValueKind::text, "= IN !="}},
        {"type", {Field::type, ValueKind::text, "= IN !="}},
        {"createdAt", {Field::created_at, ValueKind::date, "= < IN !="}},
        {"updatedAt", {Field::updated_at, ValueKind::date, "= < IN !="}},
        {"size", {Field::size, ValueKind::size, "= < IN !="}},
        {"width", {Field::width, ValueKind::number, "= < IN !="}},
        {"height", {Field::height, ValueKind::number, "= < IN !="}},
        {"format", {Field::format, ValueKind::text, "= IN !="}},
        {"tags", {Field::tags, ValueKind::tags, "IN HAS EXISTS"}},
        {"private", {Field::is_private, ValueKind::boolean, "="}},
        {"published", {Field::published, ValueKind::boolean, "="}},
        {"transparency", {Field::transparency, ValueKind::boolean, "="}},
        {"createdBy", {Field::created_by, ValueKind::text, "= IN !="}},
        {"customMetadata", {Field::custom_metadata, ValueKind::any, "= : < IN != HAS EXISTS"}},
        {"embeddedMetadata", {Field::embedded_metadata, ValueKind::any, "= : < IN != HAS EXISTS"}},
    };
    return table;
}

const char *operator_class(Op op) {
    switch (op) {
        case Op::equal:
            return "=";
        case Op::prefix:
            return ":";
        case Op::less:
        case Op::less_equal:
        case Op::greater:
        case Op::greater_equal:
            return "<";
        case Op::in:
        case Op::not_in:
            return "IN";
        case Op::not_equal:
            return "!=";
        case Op::has:
            return "HAS";
        case Op::exists:
        case Op::not_exists:
            return "EXISTS";
    }
    return "";
}

class Parser {
  public:
    Parser(const std::string &text, const SearchDialect &dialect, std::int64_t now)
        : tokens_(search_tokens(text, dialect)), dialect_(dialect), now_(now) {}

    SearchNode parse() {
        SearchNode node = any();
        if (peek().kind != SearchToken::Kind::end)
            throw SearchError("unexpected '" + peek().text + "'." + refer);
        return node;
    }

  private:
    SearchNode any() { return chain(SearchNode::Kind::any, "OR"); }

    SearchNode chain(SearchNode::Kind kind, const char *keyword) {
        SearchNode node;
        node.kind = kind;
        do
            node.children.push_back(kind == SearchNode::Kind::any ? chain(SearchNode::Kind::all, "AND") : factor());
        while (take(keyword));
        return node.children.size() == 1 ? std::move(node.children[0]) : node;
    }

    SearchNode factor() {
        if (take("(")) {
            if (++depth_ > 100)
                throw SearchError(std::string("too many nested parentheses.") + refer);
            SearchNode node = any();
            if (!take(")"))
                throw SearchError(std::string("a parenthesis is not closed.") + refer);
            --depth_;
            return node;
        }
        SearchNode node;
        node.kind = SearchNode::Kind::term;
        node.term = term();
        return node;
    }

    SearchTerm term() {
        const FieldRule &rule = field();
        SearchTerm term;
        term.field = rule.field;
        term.member = member_;
        term.op = comparison();
        if ((" " + rule.operators + " ").find(std::string(" ") + operator_class(term.op) + " ") == std::string::npos)
            throw SearchError(field_name_ + " field does not support the operator." + refer);
        if (term.op == Op::exists || term.op == Op::not_exists)
            return term;
        if (term.op != Op::in && term.op != Op::not_in) {
            term.values.push_back(value(rule, term.op));
            return term;
        }
        if (!take("["))
            throw SearchError(field_name_ + " field must have a list of values in square brackets." + refer);
        do
            term.values.push_back(value(rule, term.op));
        while (take(","));
        if (!take("]"))
            throw SearchError(std::string("a square bracket is not closed.") + refer);
        return term;
    }

    // A metadata field is written in quotes with its member, every other one bare.
    const FieldRule &field() {
        const SearchToken token = next();
        field_name_ = token.text;
        member_.clear();
        std::string base = token.text;
        if (token.kind == SearchToken::Kind::text) {
            const std::size_t dot = base.find('.');
            if (dot != std::string::npos) {
                member_ = base.substr(dot + 1);
                base = base.substr(0, dot);
            }
        }
        const bool metadata = base == "customMetadata" || base == "embeddedMetadata";
        const auto rule = rules().find(base);
        if (token.kind == SearchToken::Kind::end)
            throw SearchError(std::string("the query ends where a field is expected.") + refer);
        if (rule == rules().end() || metadata != !member_.empty() ||
            metadata != (token.kind == SearchToken::Kind::text))
            throw SearchError(field_name_ + " field is not supported." + refer);
        return rule->second;
    }

    Op comparison() {
        if (take("="))
            return Op::equal;
        if (take(":"))
            return Op::prefix;
        if (take("<="))
            return Op::less_equal;
        if (take("<"))
            return Op::less;
        if (take(">="))
            return Op::greater_equal;
        if (take(">"))
            return Op::greater;
        if (take("IN"))
            return Op::in;
        if (take("HAS"))
            return Op::has;
        if (take("EXISTS"))
            return Op::exists;
        if (take("NOT")) {
            if (take("="))
                return Op::not_equal;
            if (take("IN"))
                return Op::not_in;
            if (take("EXISTS"))
                return Op::not_exists;
        }
        throw SearchError(field_name_ + " field must be followed by an operator." + refer);
    }

    SearchValue value(const FieldRule &rule, Op op) {
        const SearchToken token = next();
        const bool quoted = token.kind == SearchToken::Kind::text;
        if (!quoted && token.kind != SearchToken::Kind::word)
            throw SearchError(field_name_ + " field must have a value." + refer);
        SearchValue out;
        out.text = token.text;
        switch (rule.values) {
            case ValueKind::text:
            case ValueKind::tags:
                if (!quoted)
                    refuse("string", true);
                if (rule.field == Field::type && out.text != "file" && out.text != "file-version" &&
                    out.text != "folder")
                    refuse("type", false);
                return out;
            case ValueKind::path: {
                if (!quoted)
                    refuse("string", true);
                const bool slash = !out.text.empty() && out.text.back() == '/';
                // A NUL is in no path: the term is then valid and matches nothing.
                out.text = slash || dialect_.path_without_slash ? normal_folder(out.text) : std::string(1, '\0');
                return out;
            }
            case ValueKind::date: {
                auto time = quoted ? parse_time(token.text) : std::nullopt;
                if (quoted && !time)
                    time = parse_relative_time(token.text, now_);
                if (!time)
                    refuse("date", true);
                out.kind = SearchValue::Kind::number;
                out.number = static_cast<double>(*time);
                return out;
            }
            case ValueKind::size:
                out.kind = SearchValue::Kind::number;
                if (!(quoted ? size_with_unit(token.text, out.number) : plain_number(token.text, out.number)))
                    refuse("size", false);
                return out;
            case ValueKind::number:
                out.kind = SearchValue::Kind::number;
                if (quoted || !plain_number(token.text, out.number))
                    refuse("number", false);
                return out;
            case ValueKind::boolean:
                if (quoted || (token.text != "true" && token.text != "false"))
                    refuse("boolean", false);
                out.kind = SearchValue::Kind::boolean;
                out.boolean = token.text == "true";
                return out;
            case ValueKind::any:
                return metadata_value(token, op);
        }
        return out;
    }

    // The type of a metadata field is not known here: the value's own form decides.
    SearchValue metadata_value(const SearchToken &token, Op op) {
        SearchValue out;
        out.text = token.text;
        if (token.kind == SearchToken::Kind::text) {
            const bool ordered = operator_class(op)[0] == '<';
            if (const auto time = ordered ? parse_time(token.text) : std::nullopt) {
                out.kind = SearchValue::Kind::number;
                out.number = static_cast<double>(*time);
            }
        } else if (token.text == "true" || token.text == "false") {
            out.kind = SearchValue::Kind::boolean;
            out.boolean = token.text == "true";
        } else if (plain_number(token.text, out.number)) {
            out.kind = SearchValue::Kind::number;
        } else {
            refuse("string", true);
        }
        return out;
    }

    [[noreturn]] void refuse(const char *kind, bool quotes) const {
        throw SearchError(field_name_ + " field must have a valid " + kind + " value." +
                          (quotes ? " Make sure the value is enclosed within quotes." : "") + refer);
    }

    static bool plain_number(const std::string &text, double &out) {
        char *end = nullptr;
        out = std::strtod(text.c_str(), &end);
        return !text.empty() && *end == '\0' && text.find_first_not_of("0123456789.-") == std::string::npos;
    }

    // "10kb", "1mb": powers of 1024 (the service does not say which).
    static bool size_with_unit(const std::string &text, double &out) {
        static const std::map<std::string, double> units{
            {"b", 1}, {"kb", 1024.0}, {"mb", 1048576.0}, {"gb", 1073741824.0}};
        const std::size_t digits = text.find_first_not_of("0123456789.");
        if (digits == std::string::npos || digits == 0)
            return false;
        const auto unit = units.find(text.substr(digits));
        if (unit == units.end() || !plain_number(text.substr(0, digits), out))
            return false;
        out *= unit->second;
        return true;
    }

    const SearchToken &peek() const { return tokens_[at_]; }
    SearchToken next() {
        SearchToken token = tokens_[at_];
        if (at_ + 1 < tokens_.size())
            ++at_;
        return token;
    }
    bool take(const char *what) {
        if (!peek().is(what))
            return false;
        ++at_;
        return true;
    }

    std::vector<SearchToken> tokens_;
    SearchDialect dialect_;
    std::int64_t now_;
    std::size_t at_ = 0;
    int depth_ = 0;
    std::string field_name_, member_;
};

}  // namespace

SearchNode parse_search_query(const std::string &text, const SearchDialect &dialect, std::int64_t now) {
    return Parser(text, dialect, now).parse();
}

}  // namespace ikemu
