// From the bytes of an answer to the entries it lists.
//
// It must never repair: what is not JSON to the letter is no JSON, and a list with one entry of another shape is no list
// of files.

#include "core/api_reply.h"

#include <json/json.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "core/api_text.h"
#include "core/api_time.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

// The reader and the destructor of Json::Value are recursive: the depth bounds their stack. ImageKit's own objects are
// four or five deep, metadata somewhat deeper.
constexpr int kMaxDepth = 64;

// A parsed value takes some hundred times the room of the "1," it came from; 8 MB of them would take a gigabyte. A
// full page of 1000 files has about fifty thousand values.
constexpr size_t kMaxValues = 500000;

constexpr char kSpaces[] = " \t\r\n";

bool IsHtml(std::string_view body, std::string_view content_type) {
  // The type alone is not enough (many a proxy sends none), nor is the body (an empty page has none).
  std::string type(content_type.substr(0, 40));
  for (char& c : type) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  const size_t start = body.find_first_not_of(kSpaces);
  return type.find("html") != std::string::npos || (start != std::string_view::npos && body[start] == '<');
}

bool ParseJson(const std::string& body, Json::Value* root) {
  // jsoncpp takes a zero byte for the end of the text: whatever stands behind it would go unseen.
  if (body.find('\0') != std::string::npos) return false;
  const auto starts_value = [](char c) { return c == ',' || c == '[' || c == '{'; };
  if (static_cast<size_t>(std::count_if(body.begin(), body.end(), starts_value)) > kMaxValues) return false;
  try {
    Json::CharReaderBuilder builder;
    Json::CharReaderBuilder::strictMode(&builder.settings_);  // also: duplicate keys are refused
    builder.settings_["stackLimit"] = kMaxDepth;
    const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
    std::string errors;
    return reader->parse(body.data(), body.data() + body.size(), root, &errors);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    return false;  // too deep: jsoncpp throws instead of returning
  }
}

/// The string member `key` of an object; false when it is absent or of another type.
bool StringMember(const Json::Value& object, const char* key, std::string* text) {
  const Json::Value* member = object.find(key, key + std::char_traits<char>::length(key));
  if (member == nullptr || !member->isString()) return false;
  *text = member->asString();
  return true;
}

int64_t TimeMember(const Json::Value& object, const char* key) {
  std::string text;
  return StringMember(object, key, &text) ? ParseIsoTime(text) : -1;
}

/// A count of something; -1 when it is absent or none.
int64_t NumberMember(const Json::Value& object, const char* key) {
  const Json::Value* member = object.find(key, key + std::char_traits<char>::length(key));
  return member != nullptr && member->isInt64() && member->asInt64() >= 0 ? member->asInt64() : -1;
}

/// Reads one entry of a list. False when it is not shaped as section 2.3 says; `is_file` tells a file from a folder
/// or a version, whose ids must never be used.
bool ReadEntry(const Json::Value& entry, bool* is_file, FoundFile* file) {
  std::string type;
  if (!entry.isObject() || !StringMember(entry, "type", &type)) return false;
  *is_file = type == "file";
  if (!*is_file) return true;
  if (!StringMember(entry, "fileId", &file->file_id) || !StringMember(entry, "name", &file->name) ||
      !StringMember(entry, "filePath", &file->file_path)) {
    return false;
  }
  // Of no consequence for what is deleted, so a strange one is only left out.
  if (!StringMember(entry, "url", &file->url) || CleanText(file->url, file->url.size()) != file->url) file->url.clear();
  file->size = NumberMember(entry, "size");
  if (!StringMember(entry, "fileType", &file->type) || (file->type != "image" && file->type != "non-image")) {
    file->type.clear();
  }
  file->created_ms = TimeMember(entry, "createdAt");
  file->updated_ms = TimeMember(entry, "updatedAt");
  return true;
}

/// What tells one entry of a list from another.
std::string EntryId(const Json::Value& entry) {
  std::string id;
  if (!StringMember(entry, "fileId", &id) && !StringMember(entry, "folderId", &id)) StringMember(entry, "name", &id);
  return id;
}

void ReadEntries(const Json::Value& array, ReplyBody* reply) {
  reply->entries = array.size();
  for (const Json::Value& entry : array) {
    bool is_file = false;
    FoundFile file;
    if (!ReadEntry(entry, &is_file, &file)) return;
    if (is_file) reply->files.push_back(std::move(file));
  }
  reply->well_shaped = true;
  if (array.empty()) return;
  reply->first_entry = EntryId(array[0]);
  reply->last_entry = EntryId(array[array.size() - 1]);
}

IdList ReadIds(const Json::Value& object, const char* key) {
  IdList list;
  const Json::Value* member = object.find(key, key + std::char_traits<char>::length(key));
  if (member == nullptr || member->isNull()) return list;
  const bool texts = member->isArray() &&
                     std::all_of(member->begin(), member->end(), [](const Json::Value& id) { return id.isString(); });
  list.state = texts ? IdList::State::kRead : IdList::State::kMalformed;
  if (!texts) return list;
  for (const Json::Value& id : *member) list.ids.push_back(id.asString());
  return list;
}

void ReadObject(const Json::Value& object, ReplyBody* reply) {
  const bool words = StringMember(object, "message", &reply->message) && !reply->message.empty();
  reply->kind = words ? BodyKind::kMessage : BodyKind::kJson;
  reply->deleted = ReadIds(object, "successfullyDeletedFileIds");
  reply->missing = ReadIds(object, "missingFileIds");
  reply->usage.bandwidth_bytes = NumberMember(object, "bandwidthBytes");
  reply->usage.library_bytes = NumberMember(object, "mediaLibraryStorageBytes");
  reply->usage.cache_bytes = NumberMember(object, "originalCacheStorageBytes");
  reply->usage.video_units = NumberMember(object, "videoProcessingUnitsCount");
  reply->usage.extension_units = NumberMember(object, "extensionUnitsCount");
  constexpr std::string_view kErrors = "errors";
  const Json::Value* errors = object.find(kErrors.data(), kErrors.data() + kErrors.size());
  reply->has_errors = errors != nullptr && errors->isArray();
  if (!reply->has_errors) return;
  for (const Json::Value& entry : *errors) {
    FailedFile failed;
    if (!entry.isObject() || !StringMember(entry, "fileId", &failed.file_id)) continue;
    StringMember(entry, "error", &failed.error);
    reply->failed.push_back(std::move(failed));
  }
}

}  // namespace

ReplyBody ReadBody(const std::string& body, const std::string& content_type) {
  ReplyBody reply;
  Json::Value root;
  if (ParseJson(body, &root)) {
    if (root.isArray()) {
      reply.kind = BodyKind::kArray;
      ReadEntries(root, &reply);
    } else {
      ReadObject(root, &reply);
    }
  } else if (IsHtml(body, content_type)) {
    reply.kind = BodyKind::kHtml;
  } else if (body.find_first_not_of(kSpaces) != std::string::npos) {
    reply.kind = BodyKind::kText;
    reply.message = body;
  }
  return reply;
}

Verdict ReadProbe(const ReplyBody& body, FoundFile* file) {
  if (!body.well_shaped) return Verdict::kBroken;
  if (body.entries == 0) return Verdict::kNotFound;
  if (body.files.empty()) return Verdict::kBroken;  // folders, though only files were asked for
  *file = body.files.front();
  file->file_id.clear();  // nobody asked for this file to be deleted
  return Verdict::kFound;
}

}  // namespace imagekit
