#include "core/uses.h"

#include <utility>

#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr size_t kMostPrefixes = 1000;

/// The end of the URL's host, and of its first folder; npos where there is none.
std::pair<size_t, size_t> FirstSlashes(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {std::string_view::npos, std::string_view::npos};
  const size_t host = url.find('/', scheme + 3);
  return {host, host == std::string_view::npos ? host : url.find('/', host + 1)};
}

}  // namespace

void UseReader::Read(const EndpointMap& endpoints, std::string_view url, std::vector<Use>* uses) {
  if (endpoints.Owns(url))
    ReadOurs(endpoints, url, uses);
  else
    ReadForeign(url, uses);
  InnerUrls inner(url);
  for (std::string_view another; inner.Next(&another);)
    if (endpoints.Owns(another)) ReadInDoubt(another, endpoints.Read(another).account, uses);
}

void UseReader::ReadInDoubt(std::string_view url, int account, std::vector<Use>* uses) {
  uses->push_back({UseKind::kPerhaps, account, KeyOfPath(UrlKey(url))});
  for (const std::string& key : OtherUrlKeys(url)) uses->push_back({UseKind::kPerhaps, account, KeyOfPath(key)});
}

void UseReader::ReadOurs(const EndpointMap& endpoints, std::string_view url, std::vector<Use>* uses) {
  const UrlReading reading = endpoints.Read(url);
  if (reading.kind != UrlClass::kLibraryFile) return ReadInDoubt(url, reading.account, uses);
  for (const std::string& key : OtherUrlKeys(url))
    uses->push_back({UseKind::kPerhaps, reading.account, KeyOfPath(key)});
  uses->push_back({UseKind::kSure, reading.account, KeyOfPath(reading.path.FilePath())});
  for (const LibraryPath& other : reading.other_readings)
    uses->push_back({UseKind::kOther, reading.account, KeyOfPath(other.FilePath())});
}

void UseReader::ReadForeign(std::string_view url, std::vector<Use>* uses) {
  const auto [host, folder] = FirstSlashes(url);
  for (const size_t end : {host, folder}) {
    if (end == std::string_view::npos) continue;
    const EndpointMap& endpoints = UnderPrefix(url.substr(0, end));
    if (endpoints.empty()) continue;
    const UrlReading reading = endpoints.Read(url);
    if (reading.kind == UrlClass::kLibraryFile)
      uses->push_back({UseKind::kForeign, 0, KeyOfPath(reading.path.FilePath())});
  }
}

const EndpointMap& UseReader::UnderPrefix(std::string_view prefix) {
  if (unknown_.size() >= kMostPrefixes) unknown_.clear();
  std::unique_ptr<EndpointMap>& known = unknown_[std::string(prefix)];
  if (known == nullptr) {
    known = std::make_unique<EndpointMap>();
    try {
      known->Add(1, prefix);
    } catch (const EndpointError&) {
      // Nothing that could be a prefix: it stays empty.
    }
  }
  return *known;
}

}  // namespace imagekit
