#!/usr/bin/env bash
# Installs what Weft is built and tested with, from Debian 12's own packages, and the packages named as arguments. Quick when all of it
# is there.
set -euo pipefail

packages=(
  # Compiler, linker, formatter, sanitizers and fuzzer.
  binutils clang-22 clang-format-22 libc6-dev libclang-rt-22-dev libstdc++-12-dev lld-22
  # Bazel, and the rules that it would otherwise download.
  bazel-bootstrap bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib
  # Libraries: third_party/README.md says what each is for.
  libabsl-dev libcli11-dev libgmock-dev libgtest-dev liblld-22-dev libmlir-22-dev libprotobuf-dev
  libzstd-dev llvm-22-dev mlir-22-tools nlohmann-json3-dev protobuf-compiler zlib1g-dev
  "$@"
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

echo "setup: installing ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: this needs root; run tools/setup.sh as root once, then build as any user" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Runs a command: all that it says into the log, the lines that tell how far it is to the user.
step() {
  echo "setup: $*"
  if ! "$@" 2>&1 | tee "$log" | sed -un 's/^\(Get:\|Unpacking\|Setting up\|Need to get\)/setup:   &/p'; then
    tail -20 "$log" >&2
    echo "setup: failed: $*" >&2
    exit 1
  fi
}
step apt-get update -q
step apt-get install -y -q --no-install-recommends "${missing[@]}"
echo "setup: done"
