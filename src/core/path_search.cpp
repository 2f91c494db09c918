// From the entries of a list to the one file at a path, or to the reason why there is none.
//
// It must never guess: an entry counts only when it is whole, of type "file" exactly, and its filePath equals the
// wanted path byte for byte (section 2.6). Whatever contradicts itself names no file.

#include "core/path_search.h"

#include <algorithm>
#include <utility>

#include "core/api_request.h"
#include "core/core_only.h"

namespace imagekit {

size_t PathSearch::Add(const LibraryPath& wanted) {
  const auto [at, is_new] = by_path_.emplace(wanted.FilePath(), targets_.size());
  if (is_new) {
    targets_.emplace_back();
    targets_.back().path = wanted;
    names_[wanted.name];
  }
  return at->second;
}

bool PathSearch::ReadPage(ReplyBody page) {
  if (!page.well_shaped) return SettleRest(Verdict::kBroken, "an entry of the list is not shaped like ImageKit's");
  if (pages_ > 0 && (page.entries == 0 || page.first_entry != last_entry_)) {
    return SettleRest(Verdict::kTransient, "the list changed while it was read");
  }
  entries_ = next_skip() + page.entries;
  last_entry_ = std::move(page.last_entry);
  ++pages_;

  struct Claim {
    FoundFile* file = nullptr;
    bool alone = true;
  };
  std::unordered_map<size_t, Claim> claims;  // by target
  for (FoundFile& entry : page.files) {
    const auto target = by_path_.find(entry.file_path);
    if (target != by_path_.end() && !targets_[target->second].settled) {
      Claim& claim = claims[target->second];
      if (claim.file != nullptr) claim.alone = false;
      claim.file = &entry;
    }
    const auto name = names_.find(entry.name);
    if (name == names_.end()) {
      other_names_ = true;
    } else if (name->second.entries++ == 0) {
      name->second.first_path = entry.file_path;
    }
  }
  if (claims.empty()) return false;

  std::unordered_map<std::string_view, int> ids;
  for (const FoundFile& entry : page.files) ++ids[entry.file_id];
  for (const auto& [place, claim] : claims) {
    Target& target = targets_[place];
    if (!claim.alone) {
      Settle(&target, Verdict::kAmbiguous, "more than one file is listed at this path");
    } else if (claim.file->name != target.path.name) {
      Settle(&target, Verdict::kAmbiguous, "the file at this path has another name");
    } else if (!IsFileId(claim.file->file_id)) {
      Settle(&target, Verdict::kAmbiguous, "the fileId is not made of letters and digits");
    } else if (ids[claim.file->file_id] > 1) {
      // Deleting by such an id would take the other file along.
      Settle(&target, Verdict::kAmbiguous, "one fileId is listed for two paths");
    } else {
      Settle(&target, Verdict::kFound, "");
    }
  }
  for (const auto& [place, claim] : claims) {
    if (targets_[place].verdict == Verdict::kFound) targets_[place].file = std::move(*claim.file);
  }
  return AllSettled();
}

void PathSearch::Conclude() {
  for (Target& target : targets_) {
    if (target.settled) continue;
    const Name& name = names_[target.path.name];
    if (by_name_ && other_names_) {
      // The service reads the query otherwise than we do: its silence about our names proves nothing.
      Settle(&target, Verdict::kAmbiguous, "the search by name was answered with files of other names");
    } else if (name.entries > 0) {
      Settle(&target, Verdict::kElsewhere, "a file of this name lies at " + name.first_path);
    } else {
      Settle(&target, Verdict::kNotFound, "no such file is listed");
    }
  }
}

void PathSearch::GiveUp() {
  SettleRest(Verdict::kAmbiguous,
             "not found among the first " + std::to_string(entries_) + " entries, and there are more");
}

std::vector<std::string> PathSearch::CommonNames() const {
  std::vector<std::string> common;
  for (const auto& [text, name] : names_) {
    if (name.entries * names_.size() >= entries_) common.push_back(text);
  }
  return common;
}

void PathSearch::Settle(Target* target, Verdict verdict, std::string why) {
  target->settled = true;
  target->verdict = verdict;
  target->words = std::move(why);
}

bool PathSearch::SettleRest(Verdict verdict, const std::string& why) {
  for (Target& target : targets_) {
    if (!target.settled) Settle(&target, verdict, why);
  }
  return true;
}

bool PathSearch::AllSettled() const noexcept {
  return std::all_of(targets_.begin(), targets_.end(), [](const Target& target) { return target.settled; });
}

IdPage::IdPage(const ReplyBody& page) {
  for (const FoundFile& file : page.files) {
    Entry& entry = by_id_[file.file_id];
    entry.file = &file;
    ++entry.times;
    ++by_path_[file.file_path];
  }
}

const FoundFile* IdPage::FileAt(const std::string& file_id, const LibraryPath& path) const {
  const auto entry = by_id_.find(file_id);
  if (entry == by_id_.end() || entry->second.times != 1 || !IsFileId(file_id)) return nullptr;
  const FoundFile* file = entry->second.file;
  const bool there = file->name == path.name && file->file_path == path.FilePath();
  return there && by_path_.at(file->file_path) == 1 ? file : nullptr;
}

}  // namespace imagekit
