#!/bin/bash
# Runs every bench as small as it can be and checks what it prints; says nothing about the numbers.
# smoke.sh DIRECTORY-OF-THE-BENCHES
set -euo pipefail
cd "$1"

# check BENCH COUNT RATIO…
check() {
  local bench=$1 count=$2
  shift 2
  echo "smoke: $bench --count $count --json" >&2
  "./$bench" --count "$count" --json | ./bench_check_report "$bench" "$@"
}

check admission 4 delay_ratio whole_ratio
check sandbox_start 4 ready_ms ready_vs_bwrap warm_vs_bwrap cold_vs_bwrap p99_vs_p50 api_echo_ms
check overlay 4 ready_shared_vs_plain mount_vs_ready_plain
check fork 200 fork_ms fork_vs_cp copied_vs_cp
check exec 4 exec_static_ms exec_vs_spawn output_vs_pipe write_vs_file read_vs_file
check checkpoint 2 upper_checkpoint_ms upper_vs_git upper_vs_walk
if [ "$(id -u)" -ne 0 ]; then
  echo "smoke: density needs root and was left out" >&2
  exit 0
fi
check density 20 live failed mib_total made_per_second left_behind slab_growth_mib
