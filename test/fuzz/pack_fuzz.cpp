// The journal format: any bytes as a pack end the reading inside their bounds, and what was written is read back.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outbox/pack.h"
#include "require.h"

namespace imagekit::fuzz {
namespace {

using outbox::PackReader;
using outbox::PackWriter;
using Entries = std::vector<std::pair<std::string, std::string>>;

bool Inside(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

Entries ReadAll(std::string_view pack, bool* damaged) {
  PackReader reader(pack);
  Entries entries;
  std::string_view prefix, suffix, id;
  while (reader.Next(&prefix, &suffix, &id)) {
    Require(Inside(suffix, pack) && Inside(id, pack), "what is read lies in the pack", pack);
    Require(prefix.size() <= outbox::kMostShared, "no more is shared than may be", pack, prefix);
    entries.emplace_back(std::string(prefix) + std::string(suffix), std::string(id));
    // An entry takes three bytes, so the reading ends.
    Require(entries.size() * 3 <= pack.size(), "no more entries than the pack has room for", pack);
  }
  *damaged = reader.damaged();
  Require(!reader.Next(&prefix, &suffix, &id) && reader.damaged() == *damaged, "the end is the end", pack);
  return entries;
}

/// Writes into memory of exactly `capacity` bytes, so that the sanitizer sees one byte too many. Returns how many fitted.
size_t WriteAndReadBack(const Entries& entries, size_t capacity) {
  const std::unique_ptr<char[]> memory(new char[capacity]);
  PackWriter writer;
  writer.Start(memory.get(), capacity);
  Entries written;
  for (const auto& [url, id] : entries) {
    const size_t before = writer.size();
    // As capture passes it where a source has no fileId: no bytes, and no place either.
    const bool fits = writer.Add(url, id.empty() ? std::string_view() : std::string_view(id));
    Require(writer.size() <= capacity, "what is written fits", url, id);
    Require(fits || url.size() + id.size() + outbox::kEntryOverhead > capacity - before, "what fits is taken", url, id);
    Require(fits || writer.size() == before, "what does not fit leaves nothing behind", url, id);
    if (fits) written.emplace_back(url, id);
  }
  Require(writer.count() == written.size(), "the writer counts");
  bool damaged = true;
  const std::string pack(writer.data(), writer.size());
  Require(ReadAll(pack, &damaged) == written && !damaged, "what was written is read back", pack);
  return written.size();
}

/// Entries, one after the other, out of any bytes: what one shares with the one before, and how long it is.
Entries EntriesFrom(std::string_view bytes) {
  Entries entries;
  std::string last;
  while (bytes.size() >= 3 && entries.size() < 100) {
    const size_t shared = std::min<size_t>(static_cast<unsigned char>(bytes[0]) * 2, last.size());
    const size_t length = std::min<size_t>(static_cast<unsigned char>(bytes[1]) * 2, bytes.size() - 3);
    const size_t id_length = std::min<size_t>(static_cast<unsigned char>(bytes[2]) % 32, length);
    last = last.substr(0, shared) + std::string(bytes.substr(3, length - id_length));
    entries.emplace_back(last, std::string(bytes.substr(3 + length - id_length, id_length)));
    bytes.remove_prefix(3 + length);
  }
  return entries;
}

}  // namespace
}  // namespace imagekit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagekit::fuzz;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);

  bool damaged = false;
  const Entries entries = ReadAll(bytes, &damaged);
  size_t room = 1;
  for (const auto& [url, id] : entries) room += url.size() + id.size() + imagekit::outbox::kEntryOverhead;
  Require(WriteAndReadBack(entries, room) == entries.size(), "what was read can be written", bytes);
  // Sharing as much as possible, with the shortest varints, it cannot take more room than it did.
  if (!damaged) Require(WriteAndReadBack(entries, size) == entries.size(), "packed again it is no larger", bytes);

  if (size > 0) WriteAndReadBack(EntriesFrom(bytes.substr(1)), 1 + static_cast<unsigned char>(bytes[0]) * 4);
  return 0;
}
