#!/usr/bin/env bash
# Sets up, builds everything, runs every test, and counts test cases. Arguments go to Bazel:
#
#   tools/test.sh                  all
#   tools/test.sh --config=asan    all, under AddressSanitizer (also ubsan, tsan)
set -uo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

tools/setup.sh || { echo "0 passed, 1 failed"; exit 1; }

echo "test: building //..."
build_failed=0
bazel build --keep_going "$@" //... || build_failed=1

echo "test: running //..."
events=$(mktemp)
trap 'rm -f "$events"' EXIT
bazel test --keep_going --build_event_json_file="$events" "$@" //...
test_status=$?
# "LABEL STATUS FILE": what this run says of each test (of each shard), with the file of its test cases, if it left one.
runs=$(awk '
  /^\{"id":\{"testResult":/ {
    label = status = file = ""
    if (match($0, /"label":"[^"]*"/)) label = substr($0, RSTART + 9, RLENGTH - 10)
    if (match($0, /"status":"[^"]*"/)) status = substr($0, RSTART + 10, RLENGTH - 11)
    if (match($0, /"name":"test.xml","uri":"file:\/\/[^"]*"/)) file = substr($0, RSTART + 31, RLENGTH - 32)
    print label, status, file
  }' "$events")

# One line per test case of a file: "passed|failed|skipped LABEL CASE".
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
    }' "$2"
}

labels=$(bazel query 'tests(//...)' 2> /dev/null) || { echo "test: the list of tests cannot be had"; build_failed=1; }
results=$(
  while read -r label status file; do
    [ -n "$label" ] || continue
    lines=
    [ ! -f "$file" ] || lines=$(cases "$label" "$file")
    [ -z "$lines" ] || echo "$lines"
    # A test that ended without a result for the case it was in.
    if [ -z "$lines" ]; then
      echo "failed $label (no result: $status)"
    elif [ "$status" != PASSED ] && ! grep -q ^failed <<< "$lines"; then
      echo "failed $label (stopped early: $status)"
    fi
  done <<< "$runs"
  grep -vxFf <(cut -d ' ' -f 1 <<< "$runs") <<< "$labels" | sed 's/.*/failed & (did not build)/'
)
count() { grep -c "^$1 " <<< "$results"; }
passed=$(count passed)
failed=$(count failed)
skipped=$(count skipped)

# Nothing that Bazel calls a failure may be lost in the counting.
if [ "$failed" -eq 0 ] && { [ $build_failed -ne 0 ] || [ $test_status -ne 0 ] || [ "$passed" -eq 0 ]; }; then
  results+=$'\nfailed (the build)'
  failed=1
fi

if [ "$failed" -gt 0 ]; then
  echo "test: these failed:"
  sed -n 's/^failed /  /p' <<< "$results"
fi
# What a machine cannot run is left out, as code for AVX-512 where there is none: it says so.
if [ "$skipped" -gt 0 ]; then
  echo "test: $skipped skipped"
  awk '{ if ($1 == "skipped") skipped[$2] = 1; else ran[$2] = 1 } END { for (label in skipped) if (!(label in ran)) print "test: nothing of " label " ran here" }' <<< "$results" | sort
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
