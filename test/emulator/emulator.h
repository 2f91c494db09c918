// The whole emulator behind one function: a request goes in, a reply with instructions for its delivery comes out.
// Thread-safe; the transport calls handle() from many threads.
#pragma once

#include "api.h"
#include "faults.h"
#include "journal.h"
#include "tally.h"

namespace ikemu {

class Emulator {
  public:
    explicit Emulator(Accounts::Defaults accounts);

    Reply handle(const Request &request);

    State state;
    Journal journal;
    Tally tally;
    Faults faults;

  private:
    Reply handle_api(const Request &request);
    // Applies what a fault does to an executed request's reply.
    static void spoil(Reply &reply, const Fault &fault);
};

}  // namespace ikemu
