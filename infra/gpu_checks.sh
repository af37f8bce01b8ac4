#!/usr/bin/env bash
# Everything that only a GPU can show, in one call of under ten minutes.
# Results go to the folder given as the first argument (default: benchmarks/results).
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
status=0
timeout 240 "$python" -m pytest -m gpu -p no:cacheprovider 2>&1 | tee "$out/gpu_tests.log"
code=${PIPESTATUS[0]}
[ "$code" -eq 0 ] || [ "$code" -eq 5 ] || status=1   # 5: no test is marked gpu
timeout 300 "$python" -m benchmarks.streaming --device cuda --output "$out" || status=1
exit $status
