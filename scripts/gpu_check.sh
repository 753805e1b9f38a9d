#!/usr/bin/env bash
# What a CUDA machine makes of SST, in under 10 minutes once installed: whether results are right, times and memory
# against the published style in training and inference, the kernels' registers, and which configurations are fast.
#   bash scripts/gpu_check.sh [--only STEP,STEP] [--seconds 540] [--out results/gpu_check] [--rehearse]
# The steps are tests, training, inference, kernels and sweep. What fails is noted, and the rest goes on; the exit code
# is 1 then. --rehearse runs every step at a tiny size on the CPU.
#   PYTHON   an environment of your own; else everything is installed into .venv
#   WHEELS   a folder from scripts/gpu_wheels.sh, for a PYTHON on a machine without network
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
begin=$SECONDS

fail() {
    echo "error: $1" >&2
    exit 2
}

known=tests,training,inference,kernels,sweep
only=$known seconds=540 folder=results/gpu_check rehearse=
while [ $# -gt 0 ]; do
    case $1 in
        --rehearse) rehearse=1 && shift && continue ;;
        --only | --seconds | --out) [ $# -gt 1 ] || fail "$1 takes a value" ;;
        *) fail "$1 is unknown; use --only, --seconds, --out or --rehearse" ;;
    esac
    case $1 in
        --only) only=$2 ;;
        --seconds) seconds=$2 ;;
        --out) folder=$2 ;;
    esac
    shift 2
done
for name in ${only//,/ }; do
    [[ ,$known, == *,$name,* ]] || fail "--only $name: unknown; use ${known//,/, }"
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "--seconds $seconds: must be a whole number above 0"

if [ -z "${PYTHON:-}" ]; then
    if [ -z "$rehearse" ] && ! command -v nvidia-smi >/dev/null; then  # before gigabytes are installed
        fail 'nvidia-smi is not here, so there is no NVIDIA GPU to check; on the CPU: python scripts/benchmark.py'
    fi
    bash scripts/install.sh
    PYTHON=.venv/bin/python
fi
command -v "$PYTHON" >/dev/null || fail "there is no $PYTHON; name a Python in PYTHON, or leave it out to install one"
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site:$PWD${PYTHONPATH:+:$PYTHONPATH}"
fi
if [ -n "$rehearse" ]; then
    export CUDA_VISIBLE_DEVICES=
elif ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    fail "$PYTHON finds no usable GPU; on the CPU: $PYTHON scripts/benchmark.py"
fi

mkdir -p "$folder"
failed=()
step() {  # step SECONDS NAME COMMAND...: shows the output and keeps it in NAME.txt
    local most=$1 name=$2 left=$((seconds - SECONDS + begin))
    shift 2
    [[ ,$only, == *,$name,* ]] || return 0
    if [ "$left" -le 10 ]; then
        echo "gpu_check: no time is left for $name" >&2
        failed+=("$name")
        return
    fi
    echo "gpu_check: $name, after $((SECONDS - begin)) s"
    if ! timeout --signal=INT --kill-after=30 "$((left < most ? left : most))" "$@" 2>&1 | tee "$folder/$name.txt"; then
        echo "gpu_check: $name did not go through" >&2
        failed+=("$name")
    fi
}

tests=(tests/ops/test_{whole_size,fused,configurations,attention,pointwise,selective_scan,cuda_graphs}.py)
tests=(-q -p no:cacheprovider -n 8 "${tests[@]}")
benchmark=(--models SST-L+ --scales 2 --seconds 3)
training=(--modes fast,published --backends fused,sdpa)
inference=(--modes fast,fused,fused+graphed,published --backends fused,sdpa)
kernels=()
sweep=(--seconds "$((seconds - SECONDS + begin - 15))")
if [ -n "$rehearse" ]; then
    tests=(-q -p no:cacheprovider tests/ops/test_whole_size.py)
    benchmark=(--models options/test_demo.yml --scales 2 --seconds 0 --repeats 2 --size 16x16 --batch 1 --patch 8)
    training=(--modes fast --backends sdpa)
    inference=(--modes fast --backends sdpa)
    kernels=(options/test_demo.yml --kernels forward --capabilities 90)
    sweep=(options/test_demo.yml --offline --kernels forward --dtypes float16 --windows 8 --blocks 64 --warps 4 --stages 2)
fi
step 240 tests "$PYTHON" -m pytest "${tests[@]}"
step 180 training "$PYTHON" scripts/benchmark.py "${benchmark[@]}" --tasks training "${training[@]}" \
    --json "$folder/training.json"
step 240 inference "$PYTHON" scripts/benchmark.py "${benchmark[@]}" --tasks inference "${inference[@]}" \
    --json "$folder/inference.json"
step 100 kernels "$PYTHON" scripts/check_kernels.py "${kernels[@]}"
step 600 sweep "$PYTHON" scripts/sweep_kernels.py "${sweep[@]}" --json "$folder/sweep.json"

echo "gpu_check: done after $((SECONDS - begin)) s; docs/benchmarks/README.md says which files of $folder to keep"
if [ ${#failed[@]} -gt 0 ]; then
    echo "error: these did not go through: ${failed[*]}" >&2
    exit 1
fi
