// What every program and test tells the sanitizers.

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
// Debian's libraries are not instrumented: ThreadSanitizer sees their calls of malloc and of locks,
// but not the atomics by which their threads hand things over, and would call that a race. Abseil
// is linked statically, so what frees the last reference to a shared status is named; so is the
// destructor of LLVM's headers that gives back a file system which LLVM made, once for all threads.
extern "C" const char* __tsan_default_suppressions() {
  return "race:libMLIR.so\n"
         "race:libLLVM.so\n"
         "race:absl::*::Status::Unref\n"
         "race:llvm::PassBuilder::~PassBuilder\n";
}
#endif
#endif
