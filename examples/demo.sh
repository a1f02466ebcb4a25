#!/bin/bash
# Two tenants, an agent each, a real git repository each, in sandboxes of their own; then alice's agent
# tries to get out. Needs no key and no network: the agents play scripts. Usage: demo.sh COFFERDAM
set -euo pipefail

cofferdam=$(readlink -f "$1")
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$here")
demo=$(mktemp -d "${TMPDIR:-/tmp}/cofferdam-demo.XXXXXX")
trap 'rm -rf "$demo"' EXIT
export COFFERDAM_STATE_DIR="$demo/state"
# A secret of the host's, for the agent to look for.
export ANTHROPIC_API_KEY=sk-demo-this-is-the-hosts-secret

title() { printf '\n== %s\n' "$*"; }

# An ordinary user often has no control groups; then the demo goes on without, and the records say so.
accept=()
if ! "$cofferdam" doctor >"$demo/doctor"; then
  cat "$demo/doctor"
  [ "$(grep -c '^MISSING' "$demo/doctor")" -eq 1 ] && grep -q '^MISSING cgroup' "$demo/doctor" || exit 1
  accept=(--allow-missing cgroup)
fi

# This repository, or three of its files where there is no history.
bundle="$demo/repository.bundle"
if ! git -C "$root" bundle create --quiet "$bundle" HEAD 2>/dev/null; then
  mkdir "$demo/small"
  cp "$root"/{dev,LICENSE,README.md} "$demo/small/"
  git -C "$demo/small" init --quiet
  git -C "$demo/small" add .
  git -C "$demo/small" -c user.name=demo -c user.email=demo@localhost commit --quiet -m "A small repository"
  git -C "$demo/small" bundle create --quiet "$bundle" HEAD
fi

for tenant in alice bob; do
  title "workspace $tenant: a clone of the repository, made inside its own sandbox"
  "$cofferdam" workspace create "$tenant"
  "$cofferdam" exec -w "$tenant" "${accept[@]}" --stdin -- sh -c \
    'cat > /tmp/bundle && git -c advice.detachedHead=false clone --quiet /tmp/bundle repository && git -C repository log --oneline -1' <"$bundle"
done
"$cofferdam" exec -w bob "${accept[@]}" -- sh -c 'echo "what bob keeps for himself" > private.txt'

for tenant in alice bob; do
  title "$tenant's agent finds, edits and tests"
  "$cofferdam" run -w "$tenant" --session work "${accept[@]}" --script "$here/demo/$tenant.yaml" \
    -m "Please do the task."
done

title "alice's agent tries to get out"
"$cofferdam" run -w alice --session escape "${accept[@]}" --script "$here/demo/escape.yaml" \
  -m "Show me what is not yours."

title "the records: one hash chain for each run"
for tenant in alice bob; do
  for run in "$COFFERDAM_STATE_DIR/workspaces/$tenant/runs"/*; do
    printf '%s: ' "$tenant"
    "$cofferdam" run verify -w "$tenant" "$(basename "$run")"
  done
done
