// How a fuzz target says that a promise is broken.

#ifndef IMAGEKIT_TEST_FUZZ_REQUIRE_H
#define IMAGEKIT_TEST_FUZZ_REQUIRE_H

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace imagekit::fuzz {

/// Ends the run, with the texts the promise was about; libFuzzer then keeps the input.
inline void Require(bool holds, const char* promise, std::string_view first = {}, std::string_view second = {}) {
  if (holds) return;
  fprintf(stderr, "broken promise: %s\n  [%.*s]\n  [%.*s]\n", promise, static_cast<int>(first.size()), first.data(),
          static_cast<int>(second.size()), second.data());
  abort();
}

}  // namespace imagekit::fuzz

#endif  // IMAGEKIT_TEST_FUZZ_REQUIRE_H
