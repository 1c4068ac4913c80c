#!/usr/bin/env bash
# weft_run_test.sh WEFT_RUN PACKAGE: the command line of weft-run: results, exit codes, messages.
set -euo pipefail
run=$(realpath "$1") package=$(realpath "$2")
cd "$TEST_TMPDIR"
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}
# expect CODE PATTERN ARGUMENT...: the exit code, and what standard output or standard error has to hold.
expect() {
  local code=$1 pattern=$2 got=0
  shift 2
  "$run" "$@" > out 2> err || got=$?
  [ "$got" = "$code" ] || fail "weft-run $*: exit code $got instead of $code: $(cat out err)"
  [ -z "$pattern" ] || grep -qE -- "$pattern" out err || fail "weft-run $*: no '$pattern' in: $(cat out err)"
  if [ "$code" != 0 ] && [ "$(wc -l < err)" -gt 2 ]; then fail "weft-run $*: more than two lines: $(cat err)"; fi
}

expect 0 '^predict\(x f32\[batch, 4\]\) -> y f32\[batch, 4\]$' "$package" --list
expect 0 '^n i64\[\] 41$' "$package" --signature count --feed limit=41
expect 0 '"n":\{"dtype":"i64","shape":\[\],"values":41\}' "$package" --signature count --feed limit=41 --json
expect 0 'while' "$package" --signature count --feed limit=41 --profile
expect 0 '^w f32\[4\] \[1, 1, 1, 1\]$' "$package" --signature read --init
expect 0 'Example' --help
expect 0 'weft-run' --version

# Files in and out.
expect 0 '' "$package" --signature count --feed limit=7 --out n.npy
expect 0 '^n i64\[\] 7$' "$package" --signature count --feed limit=n.npy
expect 0 '' "$package" --signature count --feed limit=7 --out n.npz
expect 0 '' "$package" --signature init --save-checkpoint w.safetensors
# A checkpoint may be replaced by what becomes of it.
expect 0 '' "$package" --signature read --checkpoint w.safetensors --save-checkpoint w.safetensors
expect 0 'certificate .* measured ' "$package" --signature count --feed limit=41 --memory
expect 0 '^w f32\[4\] \[1, 1, 1, 1\]$' "$package" --signature read --checkpoint w.safetensors --threads 1

# 1: the run fails.
expect 1 "variable 'w' has no value" "$package" --signature read
expect 1 '--checkpoint FILE, or --init' "$package" --signature read
expect 1 'passed 1000 iterations' "$package" --signature count --feed limit=2000
expect 1 'there is no folder none' "$package" --signature count --feed limit=7 --out none/n.npy
# As if there were no driver, whatever this machine has.
: > libcuda.so.1
LD_LIBRARY_PATH=$PWD expect 1 'libcuda.so.1 cannot be loaded.*install the driver' "$package" --device cuda:0 --list
# 2: usage.
expect 2 'required' 
expect 2 "did you mean 'predict'" "$package" --signature predikt
expect 2 "input 'x'" "$package"
expect 2 "expected NAME=x.npy" "$package" --feed x.npy
expect 2 "did you mean '--checkpoint'" "$package" --chekpoint w.safetensors
expect 2 "did not expect 'n.npz'; --feed takes one value" "$package" --feed limit=1 n.npz
expect 2 "is given twice" "$package" --signature count --feed limit=1 --feed limit=2
expect 2 "number of dtype i64, got '1.5'" "$package" --signature count --feed limit=1.5
expect 2 "whole number from 0 to 1024, got '-1'" "$package" --threads -1
expect 2 'choose one' "$package" --signature read --init --checkpoint w.safetensors
expect 2 "there is no input 'xx'" "$package" --feed xx=1
expect 2 "no output 'z'" "$package" --fetch z --feed x=1
expect 2 'writes .npy or .npz' "$package" --out n.txt --signature count --feed limit=1
expect 2 'overwrite the input' "$package" --out n.npy --signature count --feed limit=n.npy
expect 2 'overwrite the input' "$package" --out ./n.npy --signature count --feed limit=n.npy
cp "$package" own.weftpkg
expect 2 'overwrite the input' own.weftpkg --signature init --save-checkpoint "$PWD/own.weftpkg"
expect 2 '--frobnicate' "$package" --frobnicate
expect 2 'carries no golden values; weft compile --golden' "$package" --verify
expect 2 "device 'gpu': expected cpu, or cuda:0" "$package" --device gpu --list
expect 2 "device 'cuda:x'" "$package" --device cuda:x --list
expect 2 '--signature excludes --list' "$package" --list --signature nope
# 3: files.
expect 3 'nowhere' nowhere.weftpkg
echo nonsense > nonsense.weftpkg
expect 3 'nonsense.weftpkg: not a Weft file' nonsense.weftpkg
head -c 3000 "$package" > short.weftpkg
expect 3 'truncated' short.weftpkg
expect 3 'nowhere' "$package" --signature read --checkpoint nowhere
expect 3 'nonsense' "$package" --signature read --checkpoint nonsense.weftpkg
expect 3 'nonsense' "$package" --signature count --feed limit=nonsense.npy
# What an operator installs is small. Sanitizers add to it.
nm "$run" > symbols
if ! grep -qE '__(asan|tsan|ubsan)_' symbols; then
  strip -o stripped "$run"
  size=$(stat -c %s stripped)
  echo "stripped: $size bytes"
  [ "$size" -le 2000000 ] || fail "weft-run has $size bytes when stripped"
fi
[ ! -e none ] || fail "something was written"
exit $failed
