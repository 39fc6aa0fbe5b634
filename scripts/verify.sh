#!/bin/bash
# Checks what compilers and linters do not: that generated files are up to date, go.mod is tidy, Go files are formatted and carry
# the licence line, packages with tests look for leaked goroutines, no file names a machine, and links lead somewhere. All
# findings are shown.
set -u
cd "$(dirname "$0")/.."
failed=0

# files PATTERN... lists the project's files, those to be added included, without those that were deleted.
files() { git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -r -d '' f; do [ -f "$f" ] && printf '%s\n' "$f"; done; }

report() { # report TITLE FINDINGS
    [ -n "$2" ] || return 0
    printf 'verify: %s:\n%s\n' "$1" "$(sed 's/^/  /' <<<"$2")" >&2
    failed=1
}

generated() { xargs -r -d '\n' grep -lE '^// Code generated .* DO NOT EDIT\.$'; }

sums() { files | sort | xargs -r -d '\n' sha256sum; }

before=$(sums)
if ! out=$("${MAKE:-make}" generate 2>&1); then
    report "make generate failed" "$out"
fi
report "out of date, now generated anew, commit them" "$(diff <(echo "$before") <(sums) | awk '/^[<>]/ { print $3 }' | sort -u)"

while IFS= read -r mod; do
    report "go.mod is not tidy, run go mod tidy in $(dirname "$mod")" "$(cd "$(dirname "$mod")" && go mod tidy -diff 2>&1)"
done < <(files 'go.mod' '*/go.mod')

go_files=$(files '*.go')
hand_written=$(comm -23 <(sort <<<"$go_files") <(generated <<<"$go_files" | sort))

report "not formatted, run make fmt" "$(xargs -r -d '\n' gofmt -s -l <<<"$hand_written")"

report "without the first line \"// SPDX-License-Identifier: Apache-2.0\"" "$(
    while IFS= read -r f; do
        [ -z "$f" ] || [ "$(head -n 1 "$f")" = '// SPDX-License-Identifier: Apache-2.0' ] || echo "$f"
    done <<<"$hand_written")"

# Modules of their own choose their test libraries themselves.
nested=$(files '*/go.mod' | xargs -r -n 1 dirname)
report "tests without goleak.VerifyTestMain in a package" "$(
    files '*_test.go' | xargs -r -n 1 dirname | sort -u | while IFS= read -r dir; do
        grep -qxF "$dir" <<<"$nested" && continue
        grep -qs 'goleak\.VerifyTestMain' "$dir"/*_test.go || echo "$dir"
    done)"

report "names a folder of one machine" "$(
    files | xargs -r -d '\n' grep -nIE '(^|[^[:alnum:]_.$})~-])/(work|root|home|tmp)/[[:alnum:]._-]')"
report "names a host that packages come from" "$(
    files | xargs -r -d '\n' grep -nIE '(proxy|sum)\.golang\.org|(deb|security)\.debian\.org|registry\.npmjs')"

report "links to a file that is not there" "$(
    files '*.md' | while IFS= read -r f; do
        grep -oE '\]\([^)# ]+' "$f" | cut -c3- | grep -vE '^[a-z]+:' | while IFS= read -r link; do
            [ -e "$(dirname "$f")/$link" ] || echo "$f: $link"
        done
    done)"
report "not listed in docs/adr/README.md" "$(
    files 'docs/adr/[0-9]*.md' | while IFS= read -r f; do
        grep -qF "($(basename "$f"))" docs/adr/README.md || echo "$f"
    done)"

exit $failed
