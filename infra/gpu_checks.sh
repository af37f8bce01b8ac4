#!/usr/bin/env bash
# Everything that only a GPU can show, in one call of under ten minutes: tests marked gpu, then the benchmarks.
# Results go to the folder given as the first argument (default: benchmarks/results).
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
status=0
run() {  # seconds, command
  local limit=$1
  shift
  timeout "$limit" "$@" && return
  echo "failed: $*" >&2
  status=1
  return 1
}
run 150 "$python" -m pytest -m gpu -p no:cacheprovider 2>&1 | tee "$out/gpu_tests.log"
[ "${PIPESTATUS[0]}" -eq 0 ] || status=1
run 60 "$python" -m benchmarks.full_size --preset 1.3b --device cuda --output "$out"
run 110 "$python" -m benchmarks.full_size --preset 14b --device cuda --output "$out"
run 150 "$python" -m benchmarks.full_size --preset 1.3b --device cuda --compile --output "$out"
for preset in 1.3b 14b; do
  run 40 "$python" -m benchmarks.window_attention --preset "$preset" --device cuda --output "$out"
done
run 40 "$python" -m benchmarks.streaming --preset nano --device cuda --output "$out"
exit $status
