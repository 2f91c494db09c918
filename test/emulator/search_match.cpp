// Evaluation of search terms. Cases the documents leave open follow test/emulator/README.md.
#include "search_match.h"

#include <algorithm>
#include <cctype>

#include "times.h"

namespace ikemu {

namespace {

std::vector<std::string> words(const std::string &text) {
    std::vector<std::string> out(1);
    for (unsigned char c : text) {
        if (std::isalnum(c) || c >= 0x80)
            out.back().push_back(static_cast<char>(std::tolower(c)));
        else if (!out.back().empty())
            out.emplace_back();
    }
    if (out.back().empty())
        out.pop_back();
    return out;
}

// Every word asked for occurs; the last one may be the beginning of a word.
bool has_words(const std::string &text, const std::string &asked) {
    const auto have = words(text), want = words(asked);
    for (std::size_t i = 0; i < want.size(); ++i) {
        const bool last = i + 1 == want.size();
        if (std::none_of(have.begin(), have.end(), [&](const std::string &word) {
                return last ? word.compare(0, want[i].size(), want[i]) == 0 : word == want[i];
            }))
            return false;
    }
    return !want.empty();
}

bool begins_with(const std::string &text, const std::string &start) {
    return text.compare(0, start.size(), start) == 0;
}

bool below(const std::string &folder, const std::string &top) {
    return top == "/" || folder == top || begins_with(folder, top + "/");
}

bool text_term(const SearchTerm &term, const std::string &text) {
    const auto equals = [&](const SearchValue &value) { return value.text == text; };
    switch (term.op) {
        case Op::equal:
        case Op::in:
            return std::any_of(term.values.begin(), term.values.end(), equals);
        case Op::not_equal:
        case Op::not_in:
            return std::none_of(term.values.begin(), term.values.end(), equals);
        case Op::prefix:
            return term.field == Field::path ? below(text, term.values[0].text)
                                             : begins_with(text, term.values[0].text);
        case Op::has:
            return has_words(text, term.values[0].text);
        default:
            return false;
    }
}

bool number_term(const SearchTerm &term, double number) {
    const auto equals = [&](const SearchValue &value) {
        return value.kind == SearchValue::Kind::number && value.number == number;
    };
    switch (term.op) {
        case Op::equal:
        case Op::in:
            return std::any_of(term.values.begin(), term.values.end(), equals);
        case Op::not_equal:
        case Op::not_in:
            return std::none_of(term.values.begin(), term.values.end(), equals);
        case Op::less:
            return number < term.values[0].number;
        case Op::less_equal:
            return number <= term.values[0].number;
        case Op::greater:
            return number > term.values[0].number;
        case Op::greater_equal:
            return number >= term.values[0].number;
        default:
            return false;
    }
}

bool tags_term(const SearchTerm &term, const Item &item) {
    std::vector<std::string> tags;
    if (item.file && item.file->extra) {
        tags = item.file->extra->tags;
        tags.insert(tags.end(), item.file->extra->ai_tags.begin(), item.file->extra->ai_tags.end());
    }
    const auto listed = [&](const SearchValue &value) {
        return std::find(tags.begin(), tags.end(), value.text) != tags.end();
    };
    switch (term.op) {
        case Op::in:
            return std::any_of(term.values.begin(), term.values.end(), listed);
        case Op::not_in:
            return std::none_of(term.values.begin(), term.values.end(), listed);
        case Op::has:
            return std::any_of(tags.begin(), tags.end(),
                               [&](const std::string &tag) { return has_words(tag, term.values[0].text); });
        case Op::exists:
            return !tags.empty();
        case Op::not_exists:
            return tags.empty();
        default:
            return false;
    }
}

bool metadata_term(const SearchTerm &term, const Json::Value &all) {
    const Json::Value &have = all[term.member];
    if (term.op == Op::exists || term.op == Op::not_exists)
        return have.isNull() == (term.op == Op::not_exists);
    const bool negative = term.op == Op::not_equal || term.op == Op::not_in;
    if (have.isNull())
        return negative;
    if (have.isBool()) {
        const bool equal = std::any_of(term.values.begin(), term.values.end(), [&](const SearchValue &value) {
            return value.kind == SearchValue::Kind::boolean && value.boolean == have.asBool();
        });
        return equal != negative;
    }
    if (have.isNumeric())
        return number_term(term, have.asDouble());
    if (have.isArray()) {
        const bool any = std::any_of(have.begin(), have.end(), [&](const Json::Value &element) {
            return std::any_of(term.values.begin(), term.values.end(), [&](const SearchValue &value) {
                return element.isString() && element.asString() == value.text;
            });
        });
        return any != negative;
    }
    if (!have.isString())
        return false;
    if (term.values[0].kind == SearchValue::Kind::number) {
        const auto time = parse_time(have.asString());
        return time && number_term(term, static_cast<double>(*time));
    }
    return text_term(term, have.asString());
}

bool term_matches(const SearchTerm &term, const Item &item) {
    const File *file = item.file;
    switch (term.field) {
        case Field::name:
            return text_term(term, file ? file->name : item.folder->name);
        case Field::path:
            if (file)
                return text_term(term, file->folder->path);
            return item.folder->parent && text_term(term, item.folder->parent->path);
        case Field::id:
            return text_term(term, to_hex(file ? file->id : item.folder->id));
        case Field::type:
            return text_term(term, item_type(item));
        case Field::created_at:
            return number_term(term, static_cast<double>(item.version ? item.version->created_ms
                                                         : file       ? file->created_ms
                                                                      : item.folder->created_ms));
        case Field::updated_at:
            return number_term(term, static_cast<double>(item.version ? item.version->updated_ms
                                                         : file       ? file->updated_ms
                                                                      : item.folder->updated_ms));
        default:
            break;
    }
    if (!file)
        return false;  // the rest is of files only
    switch (term.field) {
        case Field::size:
            return number_term(term, static_cast<double>(item.version ? item.version->size : file->size));
        case Field::width:
            return file->is_image && number_term(term, file->width);
        case Field::height:
            return file->is_image && number_term(term, file->height);
        case Field::format:
            return text_term(term, file_format(file->name));
        case Field::tags:
            return tags_term(term, item);
        case Field::is_private:
            return term.values[0].boolean == file->is_private;
        case Field::published:
            return term.values[0].boolean == file->is_published;
        case Field::transparency:
            return term.values[0].boolean == (file->extra && file->extra->transparent);
        case Field::created_by:
            return text_term(term, file->extra ? file->extra->created_by : "");
        case Field::custom_metadata:
            return metadata_term(term, file->extra ? file->extra->custom_metadata : Json::Value(Json::objectValue));
        case Field::embedded_metadata:
            return metadata_term(term, file->extra ? file->extra->embedded_metadata : Json::Value(Json::objectValue));
        default:
            return false;
    }
}

}  // namespace

const char *item_type(const Item &item) {
    return item.folder ? "folder" : item.version ? "file-version" : "file";
}

bool search_matches(const SearchNode &query, const Item &item) {
    const auto holds = [&](const SearchNode &child) { return search_matches(child, item); };
    switch (query.kind) {
        case SearchNode::Kind::term:
            return term_matches(query.term, item);
        case SearchNode::Kind::all:
            return std::all_of(query.children.begin(), query.children.end(), holds);
        case SearchNode::Kind::any:
            return std::any_of(query.children.begin(), query.children.end(), holds);
    }
    return false;
}

bool search_mentions(const SearchNode &query, Field field) {
    if (query.kind == SearchNode::Kind::term)
        return query.term.field == field;
    return std::any_of(query.children.begin(), query.children.end(),
                       [&](const SearchNode &child) { return search_mentions(child, field); });
}

}  // namespace ikemu
