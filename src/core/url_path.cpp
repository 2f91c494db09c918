// Takes a path below an endpoint apart, down to the library path.
//
// It must never guess: whatever the contract leaves open (section 9, "UNKNOWN") is refused with a reason, because the
// reading of a path decides which file is deleted. All work is linear in the length of the path.

#include "core/url_path.h"

#include <algorithm>
#include <iterator>

#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

enum class Word {
  kNone,            // an ordinary folder or file name
  kTransformation,  // tr:...
  kSeo,             // ik-seo
  kProxy,           // http:..., https:...
  kGenerated,       // ik-genimg-prompt-...
  kDerived,         // the name of a rendition: ik-thumbnail.jpg, ...
  kManifest,        // ik-master.m3u8, ik-master.mpd: segments of the stream lie beneath
  kUnknown,         // any other ik-...
};

struct Recognised {
  Word word = Word::kNone;
  // Spelled with escapes ("ik%2Dseo"). Whether the server decodes before it looks for its words is not known, so such a
  // segment has two readings. "tr%3A" is not meant here: builders that encode the whole segment write it.
  bool disguised = false;
};

/// When the decoded `segment` begins with `word`: the number of raw bytes that spell it. Otherwise 0.
size_t SpelledSize(std::string_view segment, std::string_view word, bool any_case = false) noexcept {
  size_t at = 0;
  for (char expected : word) {
    if (at >= segment.size()) return 0;
    char c;
    at += DecodeAt(segment, at, &c);
    if ((any_case ? Lower(c) : c) != expected) return 0;
  }
  return at;
}

/// True when the whole decoded `segment` is `word`.
bool IsExactly(std::string_view segment, std::string_view word) noexcept {
  return SpelledSize(segment, word) == segment.size();
}

/// Decodes on the way and only as far as the words reach: segments can be as long as the URL, and a path is looked
/// through several times.
Recognised Recognise(std::string_view segment) noexcept {
  // Most segments end here: all words begin with one of these letters, plain or escaped.
  if (segment.empty() || std::string_view("%hHit").find(segment[0]) == std::string_view::npos) return {};

  if (const size_t size = SpelledSize(segment, "tr:")) {
    return {Word::kTransformation, segment.substr(0, 2) != "tr"};
  }
  // Never a library file in either spelling, so being disguised makes no difference.
  if (SpelledSize(segment, "http:", true) || SpelledSize(segment, "https:", true)) return {Word::kProxy, false};

  if (!SpelledSize(segment, "ik-")) return {};
  // Skipped in either spelling as well.
  if (SpelledSize(segment, "ik-genimg-prompt-")) return {Word::kGenerated, false};
  const bool disguised = segment.find('%') != std::string_view::npos;
  if (IsExactly(segment, "ik-seo")) return {Word::kSeo, disguised};
  for (std::string_view name : {"ik-master.m3u8", "ik-master.mpd"}) {
    if (IsExactly(segment, name)) return {Word::kManifest, disguised};
  }
  for (std::string_view name : {"ik-thumbnail.jpg", "ik-video.mp4", "ik-gif-video.mp4", "ik-seek-thumbnail-track.vtt",
                                "ik-gensubtitle.transcript", "ik-genchapter.vtt"}) {
    if (IsExactly(segment, name)) return {Word::kDerived, disguised};
  }
  return {Word::kUnknown, false};
}

/// Counts the layers a transformation opens and closes. Tokens are separated by commas and colons; "l-image" opens,
/// "l-end" closes, while "lx-", "ly-", "lfo-" and "lm-" are only parameters of a layer.
class LayerCount {
 public:
  /// Segments are added one by one: a slash ends a token as a comma does, since no token that matters holds one.
  void Add(std::string_view text) noexcept {
    for (size_t start = 0; start <= text.size();) {
      const size_t end = std::min(text.find_first_of(",:", start), text.size());
      const std::string_view token = text.substr(start, end - start);
      if (token == "l-end") {
        --open_;
        if (open_ < 0) stray_end_ = true;
      } else if (token.substr(0, 2) == "l-") {
        ++open_;
      }
      start = end + 1;
    }
  }
  /// An "l-end" with no layer open, at any point: the count after it means nothing.
  bool stray_end() const noexcept { return stray_end_; }
  bool AnyOpen() const noexcept { return open_ > 0; }
  bool operator==(const LayerCount& other) const noexcept { return open_ == other.open_; }

 private:
  long open_ = 0;
  bool stray_end_ = false;
};

/// Step 9: decodes one segment, once. Null when nothing is wrong with it.
const char* SegmentProblem(std::string_view segment, std::string* decoded) {
  if (HasBrokenEscape(segment)) return "a broken escape (% without two hex digits) in the path";
  *decoded = Decode(segment);
  if (*decoded == "." || *decoded == "..") return "a . or .. segment in the path";
  // On the decoded text: an escape must not smuggle in what would be refused in the clear.
  for (size_t at = 0; at < decoded->size();) {
    char32_t c = 0;
    const size_t size = CodePointAt(*decoded, at, &c);
    if (size == 0) return "bytes in the path that are not UTF-8";
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return "an encoded control character in the path";
    if (c == '/') return "an encoded slash (%2F) in the path";
    if (c == '\\') return "an encoded backslash (%5C) in the path";
    at += size;
  }
  return nullptr;
}

/// Collects the parts. The first problem found is the one reported, because later ones may only follow from it; the
/// reading goes on all the same, for the sake of UrlKey.
class PathReader {
 public:
  PathReader(std::vector<std::string_view> segments, bool after_file_name)
      : segments_(std::move(segments)), after_file_name_(after_file_name) {}

  PathParts Run() {
    TakeFront();
    if (segments_.empty()) {
      Refuse("no file name after the endpoint");
    } else {
      // Before anything else is judged: the rest of a proxied URL follows another server's rules.
      Classify();
      TakeEmpty();
      CheckMisplaced();
      TakeDerivedSuffix();
      if (seo_) MergeSeoName();
    }
    parts_.segments = std::move(segments_);
    return std::move(parts_);
  }

 private:
  void Settle(UrlClass kind, const char* reason) {
    if (parts_.kind != UrlClass::kLibraryFile) return;
    parts_.kind = kind;
    parts_.reason = reason;
  }
  void Refuse(const char* reason) { Settle(UrlClass::kRefused, reason); }

  /// Steps 4 and 5 of section 9.9: what stands between the endpoint and the file.
  void TakeFront() {
    size_t at = 0;
    // SDKs join an endpoint that ends in a slash and a path that begins with one; nothing is hidden between the two.
    while (at < segments_.size() && segments_[at].empty()) ++at;
    while (at < segments_.size()) {
      const Recognised found = Recognise(segments_[at]);
      if (found.word == Word::kTransformation) {
        at = EndOfTransformation(at);
      } else if (found.word == Word::kSeo && !seo_) {
        seo_ = true;
        ++at;
      } else {
        break;
      }
      if (found.disguised) Refuse("an ImageKit word spelled with percent escapes");
      // What follows now no longer stands beside the endpoint.
      after_file_name_ = false;
    }
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  /// Some SDKs leave slashes in the path of a layer's image: `tr:l-image,i-/logos/o.png,l-end` is one transformation
  /// in three segments, and ends with the segment that closes the last layer.
  size_t EndOfTransformation(size_t at) {
    // A comma may be encoded as part of a text, or because a builder encoded the whole segment. Both counts have to
    // come to the same end, otherwise it is not known where the file's path begins.
    LayerCount raw;
    LayerCount decoded;
    // Once a layer has been found to stay open, the path is refused whatever follows; looking for the end of each
    // further transformation would make the time quadratic.
    for (size_t end = at; end < segments_.size() && !never_closed_; ++end) {
      if (HasBrokenEscape(segments_[end])) Refuse("a broken escape (% without two hex digits) in a transformation");
      raw.Add(segments_[end]);
      decoded.Add(Decode(segments_[end]));
      if (raw.stray_end() || decoded.stray_end()) Refuse("a transformation closes a layer (l-end) that is not open");
      if (!(raw == decoded)) Refuse("a transformation with layers that cannot be counted for its encoded commas");
      if (!raw.AnyOpen()) return end + 1;
    }
    never_closed_ = true;
    Refuse("a transformation opens a layer and never closes it (l-end)");
    return at + 1;
  }

  /// Step 6: what is ours, but by design no library file. Only the first segment can say so.
  void Classify() {
    const Word word = Recognise(segments_[0]).word;
    if (word == Word::kProxy) Settle(UrlClass::kSkipped, "a web proxy URL: the image lies on another server");
    if (word == Word::kGenerated) Settle(UrlClass::kSkipped, "an image generated from a prompt");
  }

  /// Whether ImageKit collapses "//" inside a path is not known. Where it does not, the path names no file.
  void TakeEmpty() {
    if (segments_.back().empty()) Refuse("the path ends in a slash, so it names a folder");
    const auto is_empty = [](std::string_view segment) { return segment.empty(); };
    const auto end = std::remove_if(segments_.begin(), segments_.end(), is_empty);
    if (end != segments_.end()) Refuse("two slashes in a row in the path");
    segments_.erase(end, segments_.end());
  }

  /// No library folder is named like this, so there is an endpoint in front of it that nobody configured, and the
  /// folders read so far are not those of the library.
  void CheckMisplaced() {
    for (size_t at = 0; at < segments_.size(); ++at) {
      const Word word = Recognise(segments_[at]).word;
      if (word == Word::kTransformation) {
        Refuse("a transformation (tr:) in the middle of the path: an endpoint may be missing in the configuration");
      } else if (word == Word::kSeo) {
        Refuse("ik-seo in the middle of the path: an endpoint may be missing in the configuration");
      } else if (word == Word::kGenerated && at > 0) {
        Refuse("ik-genimg-prompt- in the middle of the path: an endpoint may be missing in the configuration");
      }
    }
  }

  /// Step 7: "clip.mp4/ik-thumbnail.jpg" is made from clip.mp4.
  void TakeDerivedSuffix() {
    for (size_t at = 0; at < segments_.size(); ++at) {
      const Recognised found = Recognise(segments_[at]);
      // Also "clip.mp4/ik-whatever.jpg" may be a rendition, of a kind that came after this was written.
      const bool known = found.word == Word::kDerived || found.word == Word::kManifest;
      if (!known && found.word != Word::kUnknown) continue;

      const bool after_file_name = at == 0 ? after_file_name_ : LooksLikeFileName(segments_[at - 1]);
      if (!known && !after_file_name) continue;  // a folder or file that happens to begin with "ik-"
      if (!known) Refuse("an unknown suffix (ik-...) after the file name");
      if (at == 0 || !after_file_name) Refuse("a derived suffix (ik-...) with no file name before it");
      if (found.disguised) Refuse("an ImageKit word spelled with percent escapes");
      if (seo_) Refuse("ik-seo together with a derived suffix (ik-...)");
      CheckAfterSuffix(at, found.word);
      // Alone in the path it is the only name there is.
      if (at > 0) segments_.resize(at);
      return;
    }
  }

  /// Suffixes may follow one another; beneath a manifest lie parts of the stream under names of ImageKit's choice.
  void CheckAfterSuffix(size_t at, Word word) {
    while (word == Word::kDerived && ++at < segments_.size()) {
      const Recognised found = Recognise(segments_[at]);
      word = found.word;
      if ((word != Word::kDerived && word != Word::kManifest) || found.disguised) {
        Refuse("something unknown after a derived suffix (ik-...)");
      }
    }
  }

  /// Step 8: ".../IMG_1/nice-cat.jpg" delivers ".../IMG_1.jpg".
  void MergeSeoName() {
    if (segments_.size() < 2) return Refuse("ik-seo needs the file's stem and an SEO name after it");
    // The file's own extension is the delivered one: ImageKit would not find a .jpeg under a .jpg name either.
    parts_.extension = ExtensionOf(segments_.back());
    if (parts_.extension.empty()) Refuse("an SEO name without extension: the file's own extension is not known");
    // The SEO name is thrown away, but a malformed one means that the URL is not what it seems.
    std::string decoded;
    if (const char* problem = SegmentProblem(segments_.back(), &decoded)) Refuse(problem);
    segments_.pop_back();
  }

 private:
  std::vector<std::string_view> segments_;
  bool after_file_name_;
  bool seo_ = false;
  bool never_closed_ = false;
  PathParts parts_;
};

}  // namespace

std::vector<std::string_view> SplitPath(std::string_view path) {
  std::vector<std::string_view> segments;
  if (!path.empty() && IsSlash(path[0])) path.remove_prefix(1);
  // Also at backslashes, for UrlKey; Read() refuses them before it comes here. Up to and including the end of the path,
  // so that a trailing slash leaves an empty segment behind.
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find_first_of("/\\", start), path.size());
    segments.push_back(path.substr(start, end - start));
    start = end + 1;
  }
  return segments;
}

PathParts TakePathApart(std::vector<std::string_view> segments, bool after_file_name) {
  return PathReader(std::move(segments), after_file_name).Run();
}

UrlClass ReadPath(std::string_view path, bool after_file_name, LibraryPath* library_path, const char** reason) {
  const PathParts parts = TakePathApart(SplitPath(path), after_file_name);
  *reason = parts.reason;
  if (parts.kind != UrlClass::kLibraryFile) return parts.kind;

  // All but the last segment become the folder; `name` holds the latest one until it is known whether more follow.
  LibraryPath result;
  for (std::string_view segment : parts.segments) {
    if (!result.name.empty()) result.folder += "/" + result.name;
    if ((*reason = SegmentProblem(segment, &result.name)) != nullptr) return UrlClass::kRefused;
  }
  if (result.folder.empty()) result.folder = "/";
  if (!parts.extension.empty()) result.name += "." + parts.extension;
  *library_path = std::move(result);
  return UrlClass::kLibraryFile;
}

std::string ExtensionOf(std::string_view segment) {
  const std::string name = Decode(segment);
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == name.size()) return {};
  // "nice.v2-final" has none: a wrong extension would make the name of another file.
  const bool plain = std::all_of(name.begin() + static_cast<std::ptrdiff_t>(dot) + 1, name.end(), IsAlnum);
  return plain ? name.substr(dot + 1) : std::string();
}

bool LooksLikeFileName(std::string_view segment) { return !ExtensionOf(segment).empty(); }

bool IsFrontSegment(std::string_view segment) noexcept {
  const Word word = Recognise(segment).word;
  return word == Word::kTransformation || word == Word::kSeo;
}

bool IsReservedSegment(std::string_view segment) noexcept {
  const Word word = Recognise(segment).word;
  return word != Word::kNone && word != Word::kUnknown;
}

}  // namespace imagekit
