// What sanitizers are told by programs that link LLVM and MLIR.

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
// Debian's libraries are not instrumented: ThreadSanitizer sees their calls of malloc and locks,
// but not the atomics by which their threads hand things over, and would call that a race.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libMLIR.so\n"
         "called_from_lib:libLLVM.so\n";
}
#endif
#endif
