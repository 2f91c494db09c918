// One account's look-ups: which of them share a request, and what its answer means for each of them.
//
// A file is looked for in up to four ways, each of which many files share:
//
//   by fileId      a hundred ids in a search; only what lies where the row says is found, the rest goes on
//   by name        names of all folders in one search of the whole library; of one folder, when all lie in it
//   by folder      names of one folder in a search there, for names that fill the pages of a search by name
//   by listing     all files of a folder, for names that cannot stand in a query; one listing serves all of that folder
//
// Pure bookkeeping: it neither sends nor waits. The owner takes a search, sends it, and hands its answer in.

#ifndef IMAGEKIT_CORE_API_LOOKUPS_H
#define IMAGEKIT_CORE_API_LOOKUPS_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/api.h"
#include "core/api_reply.h"
#include "core/folder_queue.h"
#include "core/path_search.h"
#include "core/taxonomy.h"

namespace imagekit {

/// One request for some of them, and what its pages have shown so far.
struct Search {
  Request request = Request::kFolderSearch;
  bool listing = false;       // of a folder, whatever the names
  std::vector<LookUp> files;  // not answered yet
  PathSearch paths{true};     // unused by kIdSearch
  std::string first_page;     // request target
  size_t limit = 0;           // entries in a page
  int most_pages = 0;

  std::string Target() const;
};

struct LookUpAnswer {
  uint64_t ticket = 0;
  Verdict verdict = Verdict::kTransient;
  FoundFile file;     // kFound
  std::string words;  // why; raw, not cleaned
};

class LookUps {
 public:
  /// `base_bytes`: the size of ApiBase::path.
  LookUps(size_t base_bytes, int search_size);

  /// Queues a file. Returns why it cannot be asked for; empty when it is queued.
  std::string Add(LookUp file);

  /// While more is expected, searches by name and by id wait until they are full.
  void ExpectMore(bool more) noexcept { more_expected_ = more; }

  /// Whether there is a search to send.
  bool Waiting() const noexcept;
  /// Takes the next one; Waiting() must hold. A further page of a search that has begun comes first.
  Search TakeNext();

  /// Takes the answer to a search: appends what it settles to `answers`, and queues what it leaves open. `verdict` and
  /// `words` are those of the whole answer.
  void TakeAnswer(Search search, Verdict verdict, ReplyBody body, const std::string& words,
                  std::vector<LookUpAnswer>* answers);

  /// Takes all that is queued, also what more is expected for.
  std::vector<LookUp> TakeAll();
  /// Forgets what is queued.
  void Clear() noexcept;

 private:
  void Queue(LookUp file);
  std::vector<LookUp> GatherNames();
  Search SearchByIds();
  Search ListFolder();
  Search SearchByPath(std::vector<LookUp> files) const;

  void ReadIds(Search search, const ReplyBody& body, std::vector<LookUpAnswer>* answers);
  void ReadPage(Search search, ReplyBody body, std::vector<LookUpAnswer>* answers);
  void GiveUp(Search search, std::vector<LookUpAnswer>* answers);
  void Reject(Search search, const std::string& words, std::vector<LookUpAnswer>* answers);
  void Split(std::vector<LookUp> files);
  void StopAskingById();
  void Remember(const std::vector<std::string>& common_names);

  const size_t base_bytes_;
  const size_t search_size_;

  std::deque<Search> begun_;                // with a further page to read
  std::deque<std::vector<LookUp>> halves_;  // of groups that were rejected
  std::deque<LookUp> by_id_;
  std::deque<LookUp> by_name_;
  FolderQueue by_folder_;
  FolderQueue by_listing_;
  unsigned turn_ = 0;  // of the four, so that none has to wait for another to become empty

  bool NamesReady() const noexcept;
  bool IdsReady() const noexcept;

  bool more_expected_ = false;
  bool ids_refused_ = false;                      // ImageKit does not answer searches by id
  std::unordered_set<std::string> common_names_;  // in too many folders to be searched for in all
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_LOOKUPS_H
