#!/usr/bin/env bash
# core_symbols_test.sh SOURCE...: the executor needs nothing but libc, and defines nothing that could clash with another copy of it.
set -euo pipefail
object=$TEST_TMPDIR/core.o
parts=()
for source in "$@"; do
  case $source in *.cc) ;; *) continue ;; esac
  part=$TEST_TMPDIR/$(basename "$source").o
  clang-22 -std=c++20 -O2 -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -I. -c "$source" -o "$part"
  parts+=("$part")
done
clang-22 -nostdlib -fuse-ld=lld -r "${parts[@]}" -o "$object"
undefined=$(nm --undefined-only --format=just-symbols "$object")
[ -n "$undefined" ] || { echo "nm shows nothing: the test is broken"; exit 1; }
allowed='__errno_location|bcmp|clock_gettime|close|getpid|memcmp|memcpy|memset|memmove|open|pthread_create|pthread_join|pthread_sigmask'
allowed+='|read|sched_getaffinity|sched_getcpu|sched_setaffinity|sigdelset|sigfillset|strcmp|strlen|syscall|vsnprintf|write'
failed=0
while read -r symbol; do
  if ! [[ $symbol =~ ^($allowed)$ ]]; then
    echo "the executor needs $symbol"
    failed=1
  fi
done <<<"$undefined"
# Strong global definitions (T, D, B, R): two artifacts in one program would both have them.
if nm --defined-only "$object" | awk '$2 ~ /^[TDBR]$/ { print "strong symbol: " $3; found = 1 } END { exit found }'; then :; else failed=1; fi
# A program of C alone links with it.
cat > "$TEST_TMPDIR/main.c" <<'END'
extern unsigned long weft_pool_bytes(int threads) __attribute__((visibility("hidden")));
extern int weft_run(void*, const void*, void*) __attribute__((visibility("hidden")));
int main(void) { return weft_pool_bytes(2) > 0 && weft_run != 0 ? 0 : 1; }
END
# Twice, as in a program with two artifacts.
cp "$object" "$TEST_TMPDIR/other.o"
clang-22 -fuse-ld=lld "$TEST_TMPDIR/main.c" "$object" "$TEST_TMPDIR/other.o" -o "$TEST_TMPDIR/main"
"$TEST_TMPDIR/main"
exit $failed
