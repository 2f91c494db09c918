// The one place that waits for ImageKit: latch, postmaster death and libcurl's sockets in one WaitEventSet, so that a
// shutdown, a cancel, or another database's DROP is answered at once while a request hangs.

#include "pg/bridge.h"
#include "worker/sender.h"

namespace imagekit::worker {

namespace {

// Rebuilt when libcurl opens or closes a socket.
void Build(Waiter *waiter, const ApiClient *client) {
  FreeWaiter(waiter);
  const std::vector<ApiClient::Socket> &sockets = client->Sockets();
  waiter->version = client->SocketsVersion();
  waiter->set = pg::MakeWaitEventSet(static_cast<int>(sockets.size()) + 2);
  AddWaitEventToSet(waiter->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
  AddWaitEventToSet(waiter->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
  for (const ApiClient::Socket &socket : sockets) {
    uint32 events = (socket.read ? WL_SOCKET_READABLE : 0) | (socket.write ? WL_SOCKET_WRITEABLE : 0);
    if (events != 0) AddWaitEventToSet(waiter->set, events, socket.fd, nullptr, nullptr);
  }
}

// With nothing on its way to ImageKit, what is waited for is the pace.
uint32 WaitEventOf(const ApiClient *client) {
  static uint32 http = 0, pace = 0;
  if (http == 0) http = pg::WaitEventFor("ImageKitHttp");
  if (pace == 0) pace = pg::WaitEventFor("ImageKitPace");
  return client->Busy() ? http : pace;
}

}  // namespace

void FreeWaiter(Waiter *waiter) {
  if (waiter->set != nullptr) FreeWaitEventSet(waiter->set);
  waiter->set = nullptr;
}

void WaitForImageKit(Waiter *waiter, ApiClient *client, long longest_ms, bool *woken) {
  constexpr int kMostEvents = 16;
  WaitEvent events[kMostEvents];
  long timeout = pg::CallCxx([&] { return client->TimeoutMs(); });
  if (timeout < 0 || (longest_ms >= 0 && longest_ms < timeout)) timeout = longest_ms;
  if (waiter->set == nullptr || waiter->version != client->SocketsVersion()) Build(waiter, client);
  int ready = WaitEventSetWait(waiter->set, timeout, events, kMostEvents, WaitEventOf(client));
  for (int i = 0; i < ready; i++) {
    if (events[i].events & WL_LATCH_SET) {
      *woken = true;
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    } else {
      // After an error or hang-up the socket is reported as both; libcurl finds out which it was.
      bool readable = (events[i].events & WL_SOCKET_READABLE) != 0;
      bool writable = (events[i].events & WL_SOCKET_WRITEABLE) != 0;
      pg::CallCxx([&] { client->OnSocket(events[i].fd, readable, writable); });
    }
  }
  // Also after sockets: under load a timer must not starve.
  if (ready == 0 || client->TimeoutMs() == 0) pg::CallCxx([&] { client->OnTimer(); });
}

}  // namespace imagekit::worker
