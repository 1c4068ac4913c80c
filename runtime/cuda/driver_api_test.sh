#!/usr/bin/env bash
# Compares driver_api.h with cuda.h, where the toolkit is installed (in CUDA_HOME, or where it usually is).
# Usage: driver_api_test.sh COMPILER driver_api_check.cc
set -euo pipefail
home=${CUDA_HOME:-/usr/local/cuda}
if [ ! -e "$home/include/cuda.h" ]; then
  echo "no toolkit in $home: nothing to compare with"
  exit 0
fi
"$1" -std=c++20 -x c++ -fsyntax-only -Wno-everything -I . -isystem "$home/include" "$2"
echo "as in $home/include/cuda.h"
# The comparison itself: a function with one parameter less, and a value that is another, are found.
sed 's/(CUstream stream, CUevent event, unsigned flags)/(CUstream stream, CUevent event)/; s/CUDA_ERROR_NOT_READY = 600/CUDA_ERROR_NOT_READY = 601/' \
    runtime/cuda/driver_api.h > "${TEST_TMPDIR:-/tmp}/wrong.h"
sed "s|\"runtime/cuda/driver_api.h\"|\"${TEST_TMPDIR:-/tmp}/wrong.h\"|" "$2" > "${TEST_TMPDIR:-/tmp}/wrong.cc"
errors=$("$1" -std=c++20 -x c++ -fsyntax-only -Wno-everything -isystem "$home/include" "${TEST_TMPDIR:-/tmp}/wrong.cc" 2>&1) && {
  echo "a wrong declaration is not found"; exit 1; }
for what in "cuStreamWaitEvent is another function" "CUDA_ERROR_NOT_READY has another value"; do
  grep -q "$what" <<< "$errors" || { echo "not found: $what"; exit 1; }
done
