#!/usr/bin/env bash
# What a CUDA machine makes of SST, in under 10 minutes once installed: first whether results are right, then a sweep of
# the kernel's configurations, then times and memory against the published style. All output lands in results/gpu_check.
#   PYTHON   an environment of your own; else everything is installed into .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    bash scripts/install.sh
    PYTHON=.venv/bin/python
fi
if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: $PYTHON finds no usable GPU; on the CPU: $PYTHON scripts/benchmark.py" >&2
    exit 2
fi

folder=results/gpu_check
kernels=scripts/check_kernels.py  # checks and tunes backend fused, where this version has it
rm -rf "$folder"
mkdir -p "$folder"

step() {  # step SECONDS NAME COMMAND...: shows the output and keeps it in NAME.txt
    local seconds=$1 name=$2
    shift 2
    echo "gpu_check: $name"
    timeout --signal=INT --kill-after=30 "$seconds" "$@" 2>&1 | tee "$folder/$name.txt"
}

# Nothing is timed where results are wrong.
step 90 tests "$PYTHON" -m pytest -q -k cuda tests/ops
if [ -e "$kernels" ]; then
    step 150 kernels "$PYTHON" "$kernels"
    # The configurations stand as a table in the kernel's code; the sweep times each and says which are the fastest.
    step 120 sweep "$PYTHON" "$kernels" --sweep || echo 'gpu_check: the sweep did not end well' >&2
fi
step 230 benchmark "$PYTHON" scripts/benchmark.py --models SST-L+,SST-L --scales 2 --backends auto,sdpa --seconds 3 \
    --json "$folder/benchmark.json" --csv "$folder/benchmark.csv" --chart "$folder/benchmark.png"
echo "gpu_check: done; keep $folder/benchmark.json (docs/benchmarks/README.md says how to add it)"
