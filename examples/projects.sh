#!/bin/bash
# The commands of docs/projects.md, one after the other, as they stand there, and whether they do what the page says.
# Usage: projects.sh COFFERDAM PAGE
set -euo pipefail

cofferdam=$(readlink -f "$1")
page=$(readlink -f "$2")
SCRIPTS=$(dirname "$(readlink -f "$0")")/projects
place=$(mktemp -d "${TMPDIR:-/tmp}/cofferdam-projects.XXXXXX")
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
export SCRIPTS COFFERDAM_STATE_DIR="$place/state"
mkdir "$place/bin"
ln -s "$cofferdam" "$place/bin/cofferdam"
PATH="$place/bin:$PATH"

# An ordinary user often has no control groups; then it goes on without.
if ! cofferdam doctor >"$place/doctor"; then
  [ "$(grep -c '^MISSING' "$place/doctor")" -eq 1 ] && grep -q '^MISSING cgroup' "$place/doctor" || exit 1
  printf 'allow_missing = ["cgroup"]\n' >"$place/config.toml"
  export COFFERDAM_CONFIG="$place/config.toml"
fi

fail() {
  echo "projects.sh: $*" >&2
  exit 1
}

# Runs the n-th block of commands of the page, and shows them.
block() {
  local commands
  commands=$(awk -v wanted="$1" '/^```sh$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside && n == wanted' "$page")
  [ -n "$commands" ] || fail "the page has no block $1"
  printf '$ %s\n' "$commands"
  eval "$commands"
}

cd "$place"
block 1
block 2
[ "$(wc -l <list.txt)" -eq 3 ] || fail "the agent changed the project"
block 3 >"$place/shown"
cat "$place/shown"
grep -q '^+butter$' "$place/shown" || fail "no patch"
grep -q '^new mode 100755$' "$place/shown" || fail "no mode in the patch"
cofferdam diff | git apply --check - || fail "git does not take the patch"
block 4
[ "$(tail -n1 list.txt)" = butter ] && [ -x count.sh ] || fail "it was not applied"
block 5
[ -z "$(cofferdam diff)" ] || fail "it was not discarded"
block 6
[ "$(head -n1 list.txt) $(tail -n1 list.txt)" = "pears BUTTER" ] || fail "it was not merged"
block 7
[ -z "$(cofferdam diff)" ] || fail "it was not rewound"

# What contradicts the owner's edits has an exit code of its own.
cofferdam run --project . --script "$SCRIPTS/second.yaml" -m again >/dev/null 2>&1
echo tea >list.txt
code=0
cofferdam apply 2>"$place/conflict" || code=$?
[ "$code" -eq 4 ] && grep -q 'conflict: list.txt' "$place/conflict" || fail "no conflict was told"
[ "$(cat list.txt)" = tea ] && [ ! -e notes.txt ] || fail "a conflict was applied"
