// The one place where C++ exceptions and PostgreSQL errors meet.
//
// PostgreSQL raises an error with longjmp, which skips destructors; C++ raises one by unwinding, which skips
// PostgreSQL's handlers. Neither may cross the other:
//
//   C++ inside PostgreSQL   CallCxx([&] { ... }) runs a body that may throw and turns what it throws into an ereport
//                           after the last C++ object is gone. The body must not call anything that may ereport.
//   PostgreSQL inside C++   never. The outer rings fetch what they need into plain memory first and only then enter C++.
//   C++ objects that live   Own() ties a heap object to a memory context: it is deleted when the context is reset or
//   longer than a call      deleted, also when an error does that. Outside CallCxx only the pointer is on the stack.

#ifndef IMAGEKIT_PG_BRIDGE_H
#define IMAGEKIT_PG_BRIDGE_H

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "pg/server.h"

namespace imagekit::pg {

/// An exception that carries what a PostgreSQL error carries; CallCxx hands all of it on.
class SqlError : public std::runtime_error {
 public:
  SqlError(int sqlstate, const std::string &message, std::string detail = {}, std::string hint = {})
      : std::runtime_error(message), sqlstate_(sqlstate), detail_(std::move(detail)), hint_(std::move(hint)) {}
  int sqlstate() const noexcept { return sqlstate_; }
  const std::string &detail() const noexcept { return detail_; }
  const std::string &hint() const noexcept { return hint_; }

 private:
  int sqlstate_;
  std::string detail_;
  std::string hint_;
};

/// What is left of an exception once it is gone: plain memory, nothing to destroy, nothing to allocate.
struct CaughtException {
  int sqlstate = 0;  // 0: nothing was thrown
  char message[512];
  char detail[512];
  char hint[256];
};

/// Fills `caught` from the exception in flight. Only inside a catch block.
void DescribeException(CaughtException *caught) noexcept;

/// ereport(ERROR) with what was caught. Does not return.
[[noreturn]] void RaiseCaught(const CaughtException &caught);

template <typename Body>
auto CallCxx(Body &&body) -> decltype(body()) {
  using Result = decltype(body());
  static_assert(std::is_void_v<Result> || std::is_trivially_copyable_v<Result>,
                "only plain values may leave CallCxx: an error would skip the destructor of anything else");
  CaughtException caught;
  try {
    return body();
  } catch (...) {
    DescribeException(&caught);
  }
  RaiseCaught(caught);
}

/// A new T that lives as long as `context`.
template <typename T, typename... Args>
T *Own(MemoryContext context, Args &&...args) {
  // The callback is allocated before the object exists, so that running out of memory leaks nothing.
  auto *callback = static_cast<MemoryContextCallback *>(MemoryContextAllocZero(context, sizeof(MemoryContextCallback)));
  T *object = CallCxx([&] { return new T(std::forward<Args>(args)...); });
  callback->func = [](void *pointer) { delete static_cast<T *>(pointer); };
  callback->arg = object;
  MemoryContextRegisterResetCallback(context, callback);
  return object;
}

}  // namespace imagekit::pg

#endif  // IMAGEKIT_PG_BRIDGE_H
