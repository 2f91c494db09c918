// The sink of DELETE and TRUNCATE.

#include "capture/queue_sink.h"

namespace imagekit::capture {

namespace {

void Take(UrlSink *self, std::string_view url, std::string_view file_id) {
  auto *sink = static_cast<QueueSink *>(self);
  if (!sink->endpoints.Owns(url)) return;
  if (sink->count == QueueSink::kMost) sink->Finish();
  sink->waiting[sink->count++] = {url, file_id};
}

}  // namespace

QueueSink::QueueSink(const WatchedRelation &relation, outbox::Origin from, const EndpointMap &map)
    : watched(relation), origin(from), endpoints(map) {
  take = Take;
}

void QueueSink::Finish() {
  Queue(watched, origin, waiting, count);
  count = 0;
}

}  // namespace imagekit::capture
