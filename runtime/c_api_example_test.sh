#!/usr/bin/env bash
# c_api_example_test.sh EXAMPLE PACKAGE: the example in C runs the test package.
set -euo pipefail
example=$1 package=$2
"$example" "$package" 2 > "$TEST_TMPDIR/out"
cat "$TEST_TMPDIR/out"
grep -q '^predict$' "$TEST_TMPDIR/out"
grep -q '^  x \[batch, 4\]$' "$TEST_TMPDIR/out"
grep -q '^output: 2.5 2.5 2.5 2.5 2 2 2 2$' "$TEST_TMPDIR/out"
if "$example" /nowhere 2> "$TEST_TMPDIR/err"; then exit 1; fi
grep -q '^load: /nowhere: ' "$TEST_TMPDIR/err"
