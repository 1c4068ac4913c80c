#!/usr/bin/env bash
# forbid_deps.sh DEPS PROGRAM LABEL_PREFIX...: fails if the list of labels in DEPS has one that is or starts with a prefix, or if PROGRAM loads
# a library of LLVM's. PROGRAM may be empty.
set -euo pipefail
deps=$1 program=$2
shift 2
[ -s "$deps" ] || { echo "no dependencies in $deps: the query is broken"; exit 1; }
failed=0
for prefix in "$@"; do
  while read -r label; do
    echo "depends on $label"
    failed=1
  done < <(awk -v p="$prefix" '$0 == p || index($0, p "/") == 1 || index($0, p ":") == 1' "$deps")
done
if [ -n "$program" ] && ldd "$program" | grep -E 'libLLVM|libMLIR'; then
  echo "$program loads LLVM"
  failed=1
fi
exit $failed
