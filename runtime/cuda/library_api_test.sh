#!/usr/bin/env bash
# Compares NAME_api.h with a library's HEADER, where that is installed (in CUDA_HOME, or where the toolkit usually is).
# Usage: library_api_test.sh COMPILER NAME HEADER FUNCTION PARAMETERS FEWER VALUE OTHER
# FUNCTION's PARAMETERS end in what FEWER ends one before; VALUE, "A = 1", is OTHER, "A = 2", as little. PARAMETERS are a pattern of sed.
set -euo pipefail
compiler=$1 name=$2 header=$3 function=$4 parameters=$5 fewer=$6 value=$7 other=$8
home=${CUDA_HOME:-/usr/local/cuda}
if [ ! -e "$home/include/$header" ]; then
  echo "SKIPPED: NOTHING WAS COMPARED: there is no $home/include/$header (CUDA_HOME may name another toolkit)"
  exit 0
fi
check() { "$compiler" -std=c++20 -x c++ -fsyntax-only -Wno-everything -I . -isystem "$home/include" "$1"; }
api=runtime/cuda/${name}_api
check "${api}_check.cc"
echo "as in $home/include/$header"
# The comparison itself: a function with a parameter less, and a value that is another, are found.
wrong=${TEST_TMPDIR:-/tmp}/wrong
sed "s/$parameters/$fewer/; s/$value/$other/" "$api.h" > "$wrong.h"
sed "s|\"$api.h\"|\"$wrong.h\"|" "${api}_check.cc" > "$wrong.cc"
errors=$(check "$wrong.cc" 2>&1) && { echo "a wrong declaration is not found"; exit 1; }
for what in "$function is another function" "${value%% *} has another value"; do
  grep -q "$what" <<< "$errors" || { echo "not found: $what"; exit 1; }
done
