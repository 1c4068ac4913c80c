#!/usr/bin/env bash
# Sets up, builds everything, runs every test, and counts test cases. Arguments go to Bazel:
#
#   tools/test.sh                  all
#   tools/test.sh --config=asan    all, under AddressSanitizer (also ubsan, tsan)
set -uo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh || { echo "0 passed, 1 failed"; exit 1; }

echo "test: building //..."
build_failed=0
bazel build --keep_going "$@" //... || build_failed=1

echo "test: running //..."
log=$(bazel info command_log 2> /dev/null)
bazel test --keep_going "$@" //...
test_status=$?
# The lines "LABEL  FAILED in 1s", without what a terminal adds.
summary=$(sed 's/\x1b\[[0-9;]*[A-Za-z]//g; s/\r//g' "$log" | grep '^//')
logs=$(bazel info "$@" bazel-testlogs 2> /dev/null)

# One line per test case, "passed|failed|skipped LABEL CASE", from the result file that each test leaves (one per shard).
cases() {
  awk -v label="$1" '
    BEGIN { RS = "<testcase " }
    NR == 1 || /status="notrun"/ { next }
    {
      verdict = /<failure|<error/ ? "failed" : /<skipped|result="skipped"/ ? "skipped" : "passed"
      name = suite = ""
      if (match($0, /classname="[^"]*"/)) suite = substr($0, RSTART + 11, RLENGTH - 12) "."
      sub(/classname="[^"]*"/, "")
      if (match($0, /name="[^"]*"/)) name = substr($0, RSTART + 6, RLENGTH - 7)
      print verdict, label, suite name
    }' "${@:2}"
}

results=$(
  for label in $(bazel query --keep_going 'tests(//...)' 2> /dev/null); do
    verdict=$(grep -m1 -oE "^$label +.*(FAILED TO BUILD|FAILED|TIMEOUT|NO STATUS)" <<< "$summary")
    case $verdict in
      *"FAILED TO BUILD" | *"NO STATUS") echo "failed $label (did not build)"; continue ;;
    esac
    path=${label#//}
    lines=$(cases "$label" $(find "$logs/${path/://}" -name test.xml 2> /dev/null))
    [ -z "$lines" ] || echo "$lines"
    # A test that ended without a result for the case it was in.
    if [ -z "$lines" ] || { [ -n "$verdict" ] && ! grep -q ^failed <<< "$lines"; }; then
      echo "failed $label (${verdict:+stopped early}${verdict:-no result})"
    fi
  done
)
count() { grep -c "^$1 " <<< "$results"; }
passed=$(count passed)
failed=$(count failed)
skipped=$(count skipped)

# Nothing that Bazel calls a failure may be lost in the counting.
if [ "$failed" -eq 0 ] && { [ $build_failed -ne 0 ] || [ $test_status -ne 0 ]; }; then
  results+=$'\nfailed (the build)'
  failed=1
fi

if [ "$failed" -gt 0 ]; then
  echo "test: these failed:"
  sed -n 's/^failed /  /p' <<< "$results"
fi
[ "$skipped" -eq 0 ] || echo "test: $skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
