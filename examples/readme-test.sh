#!/bin/bash
# The C++ code in the README is the example that is compiled and run. Usage: readme-test.sh README EXAMPLE
set -euo pipefail
diff <(sed -n '/^```cpp$/,/^```$/p' "$1" | sed '1d;$d') "$2"
