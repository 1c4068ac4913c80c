#!/usr/bin/env bash
# Compares driver_api.h with cuda.h, where the toolkit is installed (in CUDA_HOME, or where it usually is).
# Usage: driver_api_test.sh COMPILER driver_api_check.cc
set -euo pipefail
home=${CUDA_HOME:-/usr/local/cuda}
if [ ! -e "$home/include/cuda.h" ]; then
  echo "SKIPPED: NOTHING WAS COMPARED: there is no $home/include/cuda.h (CUDA_HOME may name another toolkit)"
  exit 0
fi
check() { "$1" -std=c++20 -x c++ -fsyntax-only -Wno-everything -I . -isystem "$home/include" "$2"; }
check "$1" "$2"
version=$(sed -n 's/^#define CUDA_VERSION *//p' "$home/include/cuda.h")
echo "as in $home/include/cuda.h, of version $version"
# The comparison itself: a function with a parameter less, one that writes another width, and a value that is another, are found.
wrong=${TEST_TMPDIR:-/tmp}/wrong
sed 's/(CUstream stream, CUevent event, unsigned flags)/(CUstream stream, CUevent event)/
     s/(size_t\* free, size_t\* total)/(size_t* free, unsigned* total)/
     s/X(CUDA_ERROR_NOT_READY, 600)/X(CUDA_ERROR_NOT_READY, 601)/' runtime/cuda/driver_api.h > "$wrong.h"
sed "s|\"runtime/cuda/driver_api.h\"|\"$wrong.h\"|" "$2" > "$wrong.cc"
errors=$(check "$1" "$wrong.cc" 2>&1) && { echo "a wrong declaration is not found"; exit 1; }
for what in "cuStreamWaitEvent is another function" "cuMemGetInfo_v2 is another function" "CUDA_ERROR_NOT_READY has another value"; do
  grep -q "$what" <<< "$errors" || { echo "not found: $what"; exit 1; }
done
