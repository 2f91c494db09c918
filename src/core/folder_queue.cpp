// Folders in the order in which they came, and the files of each in theirs.

#include "core/folder_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/core_only.h"

namespace imagekit {

void FolderQueue::Push(LookUp file) {
  const auto [folder, is_new] = files_.try_emplace(file.path.folder);
  if (is_new) order_.push_back(file.path.folder);
  folder->second.push_back(std::move(file));
}

std::vector<LookUp> FolderQueue::Take(const std::function<bool(const LookUp&)>& fits) {
  std::vector<LookUp> taken;
  const auto folder = files_.find(order_.front());
  std::deque<LookUp>& files = folder->second;
  for (bool more = true; more && !files.empty();) {
    more = fits(files.front());
    if (!more && !taken.empty()) break;
    taken.push_back(std::move(files.front()));
    files.pop_front();
  }
  if (files.empty()) {
    files_.erase(folder);
  } else {
    order_.push_back(order_.front());
  }
  order_.pop_front();
  return taken;
}

std::vector<LookUp> FolderQueue::TakeAll(const std::string& folder) {
  const auto found = files_.find(folder);
  if (found == files_.end()) return {};
  std::vector<LookUp> files(std::make_move_iterator(found->second.begin()),
                            std::make_move_iterator(found->second.end()));
  order_.erase(std::find(order_.begin(), order_.end(), folder));
  files_.erase(found);
  return files;
}

std::vector<LookUp> FolderQueue::TakeAll() {
  std::vector<LookUp> files;
  while (!empty()) {
    for (LookUp& file : TakeAll(std::string(first_folder()))) files.push_back(std::move(file));
  }
  return files;
}

void FolderQueue::Clear() noexcept {
  order_.clear();
  files_.clear();
}

}  // namespace imagekit
