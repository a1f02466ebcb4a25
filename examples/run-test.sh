#!/bin/bash
# Runs an example with a state directory of its own. Usage: run-test.sh PROGRAM
set -euo pipefail
state=$(mktemp -d "${TMPDIR:-/tmp}/cofferdam-example.XXXXXX")
trap 'rm -rf "$state"' EXIT
export COFFERDAM_STATE_DIR="$state/user"
case "$(basename "$1")" in
  example_quickstart) "$1" ;;
  *) "$1" "$state/platform" ;;
esac
