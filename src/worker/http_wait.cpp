// The one place that waits for ImageKit: latch, postmaster death and libcurl's sockets in one WaitEventSet, so that a
// shutdown, a cancel, or another database's DROP is answered at once while a request hangs.

#include "pg/bridge.h"
#include "worker/sender.h"

namespace imagekit::worker {

namespace {

// The wait set of one wait; rebuilt when libcurl opens or closes a socket.
struct Waiter {
  WaitEventSet *set;
  uint64_t version;
};

void Free(Waiter *waiter) {
  if (waiter->set != nullptr) FreeWaitEventSet(waiter->set);
  waiter->set = nullptr;
}

void Build(Waiter *waiter, const ApiClient *client) {
  Free(waiter);
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

void Deliver(ApiClient *client, Answer *answer, TakeAnswer take, void *argument) {
  while (pg::CallCxx([&] { return client->NextAnswer(answer); })) take(argument, *answer);
}

// Not inlined into the PG_TRY that calls it: the compiler would have to keep its locals across setjmp.
pg_noinline void Pump(Waiter *waiter, ApiClient *client, TakeAnswer take, void *argument) {
  constexpr int kMostEvents = 16;
  WaitEvent events[kMostEvents];
  uint32 wait_event = pg::WaitEventFor("ImageKitHttp");
  MemoryContext answers = AllocSetContextCreate(CurrentMemoryContext, "imagekit answer", ALLOCSET_SMALL_SIZES);
  auto *answer = pg::Own<Answer>(answers);
  for (;;) {
    Deliver(client, answer, take, argument);
    if (!client->Busy()) break;
    int timeout = pg::CallCxx([&] { return client->TimeoutMs(); });
    if (waiter->set == nullptr || waiter->version != client->SocketsVersion()) Build(waiter, client);
    int ready = WaitEventSetWait(waiter->set, timeout, events, kMostEvents, wait_event);
    for (int i = 0; i < ready; i++) {
      if (events[i].events & WL_LATCH_SET) {
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
  MemoryContextDelete(answers);
}

}  // namespace

void WaitForAnswers(ApiClient *client, TakeAnswer take, void *argument) {
  // In static memory: locals that change between setjmp and longjmp would be lost.
  static Waiter waiter;
  waiter = {};
  PG_TRY();
  { Pump(&waiter, client, take, argument); }
  PG_CATCH();
  {
    Free(&waiter);
    client->Abandon();
    PG_RE_THROW();
  }
  PG_END_TRY();
  Free(&waiter);
}

}  // namespace imagekit::worker
