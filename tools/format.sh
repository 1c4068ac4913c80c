#!/usr/bin/env bash
# Formats every C++ file in the tree; with --check, only says which ones differ, as the test does.
set -euo pipefail
# In a test this script is a link; the tree is where it really lies.
cd "$(dirname "$(readlink -f "$0")")/.."

mapfile -t files < <(find . \( -name 'bazel-*' -o -name '.?*' -o -path ./quickstart -o -path ./bench-results \) -prune -o \
  -type f \( -name '*.cc' -o -name '*.h' -o -name '*.c' \) -print | sort)
[ ${#files[@]} -gt 0 ] || exit 0

if [ "${1:-}" != --check ]; then
  clang-format-22 -i "${files[@]}"
  exit 0
fi
if ! clang-format-22 --dry-run --Werror --ferror-limit=1 "${files[@]}"; then
  echo "run tools/format.sh" >&2
  exit 1
fi
