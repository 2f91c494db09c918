// Front coding of URLs into packs and back. No PostgreSQL here: unit-tested on its own.

#include "outbox/pack.h"

#include <algorithm>
#include <cstring>

namespace imagekit::outbox {

namespace {

size_t VarintSize(uint32_t value) noexcept {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    size++;
  }
  return size;
}

// How many of the first `most` bytes are equal, eight at a time: it is asked for every URL of every deleted row.
size_t Shared(const char *a, const char *b, size_t most) noexcept {
  size_t at = 0;
  uint64_t left, right;
  for (; at + sizeof left <= most; at += sizeof left) {
    memcpy(&left, a + at, sizeof left);
    memcpy(&right, b + at, sizeof right);
    if (left != right) break;
  }
  while (at < most && a[at] == b[at]) at++;
  return at;
}

// What the next entry may share with this URL. `last` already holds the URL's first `shared` bytes.
size_t Remember(char *last, size_t shared, std::string_view suffix) noexcept {
  size_t more = std::min(suffix.size(), kMostShared - shared);
  memcpy(last + shared, suffix.data(), more);
  return shared + more;
}

}  // namespace

void PackWriter::Start(char *buffer, size_t capacity) noexcept {
  buffer_ = buffer;
  capacity_ = capacity;
  buffer_[0] = static_cast<char>(kPackVersion);
  size_ = 1;
  count_ = 0;
  last_length_ = 0;
}

bool PackWriter::Add(std::string_view url, std::string_view file_id) noexcept {
  size_t shared = Shared(last_, url.data(), std::min(url.size(), last_length_));
  std::string_view suffix = url.substr(shared);
  // The room that is needed is known before anything is written.
  size_t need = VarintSize(static_cast<uint32_t>(shared)) + VarintSize(static_cast<uint32_t>(suffix.size())) +
                suffix.size() + VarintSize(static_cast<uint32_t>(file_id.size())) + file_id.size();
  if (need > capacity_ - size_) return false;
  PutVarint(static_cast<uint32_t>(shared));
  PutBytes(suffix);
  PutBytes(file_id);
  last_length_ = Remember(last_, shared, suffix);
  count_++;
  return true;
}

void PackWriter::PutVarint(uint32_t value) noexcept {
  while (value >= 0x80) {
    buffer_[size_++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  buffer_[size_++] = static_cast<char>(value);
}

void PackWriter::PutBytes(std::string_view bytes) noexcept {
  PutVarint(static_cast<uint32_t>(bytes.size()));
  // An absent fileId is a view of nothing, and memcpy takes no null, not even for no bytes.
  if (!bytes.empty()) memcpy(buffer_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

PackReader::PackReader(std::string_view pack) noexcept : rest_(pack) {
  if (rest_.empty() || static_cast<uint8_t>(rest_.front()) != kPackVersion)
    damaged_ = true;
  else
    rest_.remove_prefix(1);
}

bool PackReader::Next(std::string_view *prefix, std::string_view *suffix, std::string_view *file_id) noexcept {
  if (damaged_ || rest_.empty()) return false;
  uint32_t shared;
  if (!GetVarint(&shared) || shared > last_length_ || !GetBytes(suffix) || !GetBytes(file_id)) {
    damaged_ = true;
    return false;
  }
  // `last_` is overwritten now, and the caller still needs the shared bytes.
  memcpy(prefix_, last_, shared);
  *prefix = std::string_view(prefix_, shared);
  last_length_ = Remember(last_, shared, *suffix);
  return true;
}

bool PackReader::GetVarint(uint32_t *value) noexcept {
  uint64_t result = 0;
  for (int shift = 0; shift < 35 && !rest_.empty(); shift += 7) {
    auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    result |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) {
      if (result > UINT32_MAX) return false;
      *value = static_cast<uint32_t>(result);
      return true;
    }
  }
  return false;
}

bool PackReader::GetBytes(std::string_view *bytes) noexcept {
  uint32_t length;
  if (!GetVarint(&length) || length > rest_.size()) return false;
  *bytes = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return true;
}

}  // namespace imagekit::outbox
