#!/usr/bin/env bash
# Compares cublaslt_api.h with cublasLt.h, where the toolkit is installed (in CUDA_HOME, or where it usually is).
# Usage: cublaslt_api_test.sh COMPILER cublaslt_api_check.cc
set -euo pipefail
home=${CUDA_HOME:-/usr/local/cuda}
if [ ! -e "$home/include/cublasLt.h" ]; then
  echo "SKIPPED: NOTHING WAS COMPARED: there is no $home/include/cublasLt.h (CUDA_HOME may name another toolkit)"
  exit 0
fi
check() { "$1" -std=c++20 -x c++ -fsyntax-only -Wno-everything -I . -isystem "$home/include" "$2"; }
check "$1" "$2"
echo "as in $home/include/cublasLt.h"
# The comparison itself: a function with a parameter less, and a value that is another, are found.
wrong=${TEST_TMPDIR:-/tmp}/wrong
sed 's/void\* value, size_t bytes, size_t\* written/void* value, size_t bytes/
     s/CUBLASLT_MATMUL_DESC_EPILOGUE = 7/CUBLASLT_MATMUL_DESC_EPILOGUE = 6/' runtime/cuda/cublaslt_api.h > "$wrong.h"
sed "s|\"runtime/cuda/cublaslt_api.h\"|\"$wrong.h\"|" "$2" > "$wrong.cc"
errors=$(check "$1" "$wrong.cc" 2>&1) && { echo "a wrong declaration is not found"; exit 1; }
for what in "cublasLtMatmulAlgoConfigGetAttribute is another function" "CUBLASLT_MATMUL_DESC_EPILOGUE has another value"; do
  grep -q "$what" <<< "$errors" || { echo "not found: $what"; exit 1; }
done
