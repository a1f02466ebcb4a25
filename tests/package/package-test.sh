#!/bin/bash
# The library as others get it: installed into an empty prefix, found by CMake and by pkg-config, and
# used by a program that knows only the public headers. Usage: package-test.sh BUILD-DIR SOURCE-DIR CXX
set -euo pipefail
build=$1 source=$2 compiler=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/cofferdam-package.XXXXXX")
trap 'rm -rf "$work"' EXIT
export COFFERDAM_STATE_DIR="$work/state"

cmake --install "$build" --prefix "$work/prefix" >/dev/null
mkdir "$work/consumer"
cp "$source/examples/quickstart.cc" "$work/consumer/main.cc"
cat >"$work/consumer/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(consumer CXX)
find_package(Cofferdam REQUIRED)
add_executable(consumer main.cc)
target_link_libraries(consumer cofferdam::cofferdam)
EOF
cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" >/dev/null
cmake --build "$work/consumer/build" >/dev/null
"$work/consumer/build/consumer" | tail -n 1

libraries=$(dirname "$(find "$work/prefix" -name cofferdam.pc)")
export PKG_CONFIG_PATH=$libraries
# shellcheck disable=SC2046 # flags are words
"$compiler" "$work/consumer/main.cc" -o "$work/by-pkg-config" $(pkg-config --cflags --libs cofferdam) \
  -Wl,-rpath,"$(dirname "$libraries")"
"$work/by-pkg-config" | tail -n 1
"$work/prefix/bin/cofferdam" --version
