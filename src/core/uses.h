// What one URL in a row says about the files of a library: which it uses, and which it might.
//
// For comparing a whole library with whole tables. It must never overlook a use: a file that no URL seems to mean is called
// an orphan, and may be deleted for it.

#ifndef IMAGEKIT_CORE_USES_H
#define IMAGEKIT_CORE_USES_H

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/path_key.h"
#include "core/url.h"

namespace imagekit {

/// How sure it is.
enum class UseKind : char {
  kSure = 'R',   // the URL means the file
  kOther = 'O',  // it could mean this one as well (UrlReading::other_readings)
  kPerhaps =
      'P',  // the URL cannot be read with certainty, or uses more files than one; a key of UrlKey() or OtherUrlKeys()
  kForeign = 'F',  // under no configured prefix; what it would mean if its host, or host and first folder, were one
};

struct Use {
  UseKind kind;
  int account;  // of the EndpointMap; 0 for kForeign
  PathKey key;
};

class UseReader {
 public:
  /// Appends what the URL says. Any bytes.
  void Read(const EndpointMap& endpoints, std::string_view url, std::vector<Use>* uses);

 private:
  void ReadOurs(const EndpointMap& endpoints, std::string_view url, std::vector<Use>* uses);
  void ReadInDoubt(std::string_view url, int account, std::vector<Use>* uses);
  void ReadForeign(std::string_view url, std::vector<Use>* uses);
  const EndpointMap& UnderPrefix(std::string_view prefix);

  // A prefix that nobody has configured, as if it were one. Few hosts have nearly all of the URLs.
  std::unordered_map<std::string, std::unique_ptr<EndpointMap>> unknown_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_USES_H
