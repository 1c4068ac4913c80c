// A program that links this counts what it allocates.
#ifndef WEFT_RUNTIME_TESTING_COUNT_ALLOCATIONS_H_
#define WEFT_RUNTIME_TESTING_COUNT_ALLOCATIONS_H_

// With AddressSanitizer and ThreadSanitizer, to which malloc belongs, calls of `new` alone are
// counted.
#define WEFT_COUNTS_MALLOC 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef WEFT_COUNTS_MALLOC
#endif
#endif

namespace weft {

// Calls of malloc and its kin, `new`, and mmap since the program began, on all threads.
// Thread-safe.
long AllocationCount();

}  // namespace weft

#endif  // WEFT_RUNTIME_TESTING_COUNT_ALLOCATIONS_H_
