#!/bin/bash
# Prints a folder with the telephone recordings of Debian's package asterisk-core-sounds-en-wav
# (CC-BY-SA-3.0). A package that is not installed is fetched and unpacked into .cache/, not installed.
set -eu

package=asterisk-core-sounds-en-wav
cd "$(dirname "$0")/.."
cache=$PWD/.cache/$package

# ready ROOT prints the folder below ROOT when it holds the recordings.
ready() {
    [ -f "$1/usr/share/asterisk/sounds/en_US_f_Allison/hello-world.wav" ] || return 1
    echo "$1/usr/share/asterisk/sounds/en_US_f_Allison"
}

ready "" && exit 0
ready "$cache" && exit 0

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "the sample recordings come from the Debian package $package: unpack it into $cache, or run this on Debian" >&2
    exit 1
}

echo "fetching Debian package $package into .cache/" >&2
mkdir -p .cache
work=$(mktemp -d .cache/fetch.XXXXXX)
trap 'rm -rf "$work"' EXIT

fetch() { (cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "$package") >"$work/log" 2>&1; }
if ! fetch; then
    if [ "$(id -u)" -eq 0 ]; then
        apt-get -q update >"$work/update" 2>&1 || { cat "$work/update" >&2; exit 1; }
    fi
    fetch || { cat "$work/log" >&2; echo "apt-get download $package failed; run apt-get update as root, or install the package" >&2; exit 1; }
fi

dpkg-deb -x "$work/$package"_*.deb "$work/root"
rm -rf "$cache"
mv "$work/root" "$cache"
ready "$cache"
