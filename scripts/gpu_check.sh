#!/usr/bin/env bash
# What a CUDA machine makes of SST, in under 10 minutes once installed: first whether results are right, then which
# configurations of the kernels are fast, times and memory against the published style, at last the kernels' registers.
# All output lands in results/gpu_check.
#   PYTHON   an environment of your own; else everything is installed into .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    if ! command -v nvidia-smi >/dev/null; then  # before gigabytes are installed
        echo 'error: nvidia-smi is not here, so there is no NVIDIA GPU to check; on the CPU: python scripts/benchmark.py' >&2
        exit 2
    fi
    bash scripts/install.sh
    PYTHON=.venv/bin/python
fi
if ! command -v "$PYTHON" >/dev/null; then
    echo "error: there is no $PYTHON; name a Python in PYTHON, or leave it out to install one" >&2
    exit 2
fi
if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: $PYTHON finds no usable GPU; on the CPU: $PYTHON scripts/benchmark.py" >&2
    exit 2
fi

folder=results/gpu_check
rm -rf "$folder"
mkdir -p "$folder"

step() {  # step SECONDS NAME COMMAND...: shows the output and keeps it in NAME.txt
    local seconds=$1 name=$2
    shift 2
    echo "gpu_check: $name"
    timeout --signal=INT --kill-after=30 "$seconds" "$@" 2>&1 | tee "$folder/$name.txt"
}

# Nothing is timed where results are wrong.
step 90 tests "$PYTHON" -m pytest -q -k cuda tests/ops tests/utils tests/archs tests/scripts/benchmarking
step 150 sweep "$PYTHON" scripts/sweep_kernels.py --seconds 120 --json "$folder/sweep.json" \
    || echo 'gpu_check: the sweep did not go through, or the present configurations cannot be used' >&2
step 200 benchmark "$PYTHON" scripts/benchmark.py --models SST-L+ --scales 2 --backends sdpa,fused --seconds 3 \
    --modes fast,fused,fused+graphed,published \
    --json "$folder/benchmark.json" --csv "$folder/benchmark.csv" --chart "$folder/benchmark.png"
step 100 kernels "$PYTHON" scripts/check_kernels.py || echo 'gpu_check: the kernels were not all compiled' >&2
echo "gpu_check: done; keep $folder/benchmark.json and sweep.json (docs/benchmarks/README.md says how to add them)"
