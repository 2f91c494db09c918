// From the URLs of a row to the transaction's buffer: those of an account's, a handful at a time.

#ifndef IMAGEKIT_CAPTURE_QUEUE_SINK_H
#define IMAGEKIT_CAPTURE_QUEUE_SINK_H

#include "account/account.h"
#include "capture/buffer.h"
#include "capture/extract.h"

namespace imagekit::capture {

/// Queues each URL that is under an endpoint. The views it is given must stay good until Finish().
struct QueueSink : UrlSink {
  QueueSink(const WatchedRelation &watched, outbox::Origin origin, const EndpointMap &endpoints);

  /// After the row's last URL.
  void Finish();

  const WatchedRelation &watched;
  const outbox::Origin origin;
  const EndpointMap &endpoints;
  // Most rows hold fewer.
  static constexpr int kMost = 16;
  FoundUrl waiting[kMost];
  int count = 0;
};

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_QUEUE_SINK_H
