#!/bin/bash
# Installs the Debian packages that tests and code generation need and that are missing; with
# arguments, only those named. As root they are installed; otherwise the command to run is printed
# and the exit status is 1.
set -eu

wanted=" $* "
missing=()

# need PACKAGE FILE... notes the package when it is wanted and one of its files is not there.
need() {
    local package=$1 file
    shift
    [[ $wanted == "  " || $wanted == *" $package "* ]] || return 0
    for file in "$@"; do
        [ -e "$file" ] || command -v "$file" >/dev/null 2>&1 || { missing+=("$package"); return; }
    done
}

need gcc gcc                                                        # the race detector links with cgo
need libc6-dev /usr/include/stdlib.h
need protobuf-compiler protoc
need libprotobuf-dev /usr/include/google/protobuf/timestamp.proto
need redis-server redis-server
need redis-tools redis-cli

[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing Debian packages: ${missing[*]}" >&2
    echo "install them with: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

echo "installing Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get -q update && apt-get -q -y install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
