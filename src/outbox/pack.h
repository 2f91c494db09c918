// The pack: many URLs in one outbox tuple.
//
// URLs of one table share long prefixes, so each is stored as what it has in common with the one before, and the rest
// (front coding). That more than halves the WAL of a bulk delete, which is most of what capture costs.
//
//   pack   := version byte (1), entry*
//   entry  := varint shared, varint length, length bytes, varint id_length, id_length bytes
//
// The first `shared` bytes (at most kMostShared) are the previous URL's. Varints are little-endian base 128. Plain
// memory, no allocation, no exception: it is written while a user's statement runs.

#ifndef IMAGEKIT_OUTBOX_PACK_H
#define IMAGEKIT_OUTBOX_PACK_H

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace imagekit::outbox {

constexpr uint8_t kPackVersion = 1;
constexpr size_t kMostShared = 255;

/// Most bytes an entry takes besides its URL and fileId: three varints of at most 5 bytes.
constexpr size_t kEntryOverhead = 15;

/// Writes entries into memory the caller owns.
class PackWriter {
 public:
  /// `buffer` must hold at least one byte and outlive the writer.
  void Start(char *buffer, size_t capacity) noexcept;

  /// False, and nothing written, when the entry does not fit.
  bool Add(std::string_view url, std::string_view file_id) noexcept;

  const char *data() const noexcept { return buffer_; }
  size_t size() const noexcept { return size_; }
  uint32_t count() const noexcept { return count_; }

 private:
  void PutVarint(uint32_t value) noexcept;
  void PutBytes(std::string_view bytes) noexcept;

  char *buffer_;
  size_t capacity_;
  size_t size_;
  uint32_t count_;
  size_t last_length_;  // of what `last_` holds
  char last_[kMostShared];
};

/// Reads entries back. Trusts nothing: a damaged pack ends the reading with damaged() true.
class PackReader {
 public:
  explicit PackReader(std::string_view pack) noexcept;

  /// The next entry; false at the end. Its URL is `prefix` followed by `suffix`; all three views are good until the
  /// next call.
  bool Next(std::string_view *prefix, std::string_view *suffix, std::string_view *file_id) noexcept;

  bool damaged() const noexcept { return damaged_; }

 private:
  bool GetVarint(uint32_t *value) noexcept;
  bool GetBytes(std::string_view *bytes) noexcept;

  std::string_view rest_;
  bool damaged_ = false;
  size_t last_length_ = 0;  // of what `last_` holds
  char last_[kMostShared];
  char prefix_[kMostShared];
};

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_PACK_H
