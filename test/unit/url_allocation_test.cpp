// Proves that what runs inside the user's statement, Owns and the scanner, asks for no memory.

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <string>

#include "core/url.h"
#include "url_test_support.h"

// AddressSanitizer has operators of its own that check more than these: it keeps them, and the test counts nothing.
#if defined(__SANITIZE_ADDRESS__)
#define IMAGEKIT_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IMAGEKIT_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef IMAGEKIT_COUNTS_ALLOCATIONS
#define IMAGEKIT_COUNTS_ALLOCATIONS 1
#endif

namespace {
thread_local long allocations = 0;
}  // namespace

#if IMAGEKIT_COUNTS_ALLOCATIONS
// Not inlined: the compiler takes malloc in the one and free in the other for a mismatch.
__attribute__((noinline)) void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace imagekit {
namespace {

TEST(UrlAllocation, OwnsAndTheScannerAskForNoMemory) {
  const EndpointMap endpoints = AcmeEndpoints();
  const std::string text =
      "<img src=\"https://ik.imagekit.io/acme/tr:w-1/a%20b.jpg\" srcset='//img.acme.example/x 1x'> (see "
      "https://else.example/a, https://shop-img.acme.example//cat.jpg) **https://img.acme.example/y**";
  const long before = allocations;
  UrlScanner scanner(text);
  std::string_view url;
  int owned = 0;
  while (scanner.Next(&url)) owned += endpoints.Owns(url);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(owned, 4);
}

TEST(UrlAllocation, AllocationsAreCounted) {
  if (!IMAGEKIT_COUNTS_ALLOCATIONS) GTEST_SKIP() << "not under AddressSanitizer";
  const long before = allocations;
  EXPECT_FALSE(UrlKey("https://a.example/a-name-too-long-for-the-small-string-buffer.jpg").empty());
  EXPECT_GT(allocations, before);
}

}  // namespace
}  // namespace imagekit
