#!/usr/bin/env bash
# Installs SST and everything it needs, at the tested versions, into .venv. Fast when there is nothing to do.
#   SST_PYTHON       the Python (3.11 to 3.14) to make .venv with; else the first of python3, python3.14 ... python3.11 that fits
#   SST_TORCH_INDEX  wheel index for torch, e.g. https://download.pytorch.org/whl/cpu; `default` for pip's own (with
#                    CUDA). Where it is not set and no NVIDIA driver is there, the former is tried before the latter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="$PWD/.venv"
python="$venv/bin/python"
log="$venv/install.log"
stamp="$venv/installed"
cpu_index=https://download.pytorch.org/whl/cpu

fits() {  # does this Python run, is it 3.11 to 3.14, can it make environments?
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

find_python() {
    local candidate candidates=(python3 python3.14 python3.13 python3.12 python3.11)
    if [ -n "${SST_PYTHON:-}" ]; then
        candidates=("$SST_PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "error: SST needs Python 3.11 to 3.14 with its venv module; tried: ${candidates[*]}." >&2
    echo '  Install one (Debian, Ubuntu: apt install python3-venv) or name yours: SST_PYTHON=/path/to/python3.13 bash scripts/install.sh' >&2
    exit 2
}

# The venv's folder belongs to the stamp: a venv does not survive being moved.
wanted="$venv $(cat setup.py requirements.txt constraints.txt scripts/install.sh sst/install_basicsr.py | cksum)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && fits "$python"; then
    exit 0
fi

step() {  # step TEXT COMMAND...: one line on the screen, all output in the log, its end shown on failure
    local text=$1
    shift
    echo "install: $text"
    printf '\n== %s\n' "$*" >>"$log"
    if ! "$@" >>"$log" 2>&1; then
        tail -n 25 "$log" >&2
        echo "error: '$text' failed; all of its output is in $log" >&2
        exit 1
    fi
}

has_nvidia_driver() {
    [ -e /proc/driver/nvidia ] || [ -e /dev/nvidiactl ] || command -v nvidia-smi >/dev/null
}

offers_torch() {  # does this wheel index answer within seconds, and has it our torch for this Python and no GPU?
    timeout 20 "$python" - "$1" >>"$log" 2>&1 <<'END'
import platform, re, sys, urllib.parse, urllib.request
version = re.search('^torch==(.*)', open('constraints.txt').read(), re.M)[1]
page = urllib.parse.unquote(urllib.request.urlopen(f'{sys.argv[1]}/torch/', timeout=5).read().decode())
python = 'cp%d%d' % sys.version_info[:2]
sys.exit(not re.search(rf'torch-{re.escape(version)}\+cpu-{python}-{python}-\w*{platform.machine()}', page))
END
}

install_torch() {
    local install=("${pip[@]}" install torch torchvision) index=${SST_TORCH_INDEX:-} size='3 GB to download, 7 GB on the disk'
    if [[ "$("${pip[@]}" freeze)" == *"$(grep '^torch==' constraints.txt)"* ]]; then
        step 'torch is there, torchvision' "${install[@]}"
    elif [ -n "$index" ] && [ "$index" != default ]; then
        step "torch and torchvision from $index" "${install[@]}" --index-url "$index"
    elif [ "$index" = default ] || has_nvidia_driver; then
        step "torch with CUDA, $size; for CPUs only: SST_TORCH_INDEX=$cpu_index" "${install[@]}"
    elif ! offers_torch "$cpu_index"; then
        step "torch with CUDA, $size: there is no NVIDIA driver, but $cpu_index offers none without" "${install[@]}"
    else
        echo 'install: torch without CUDA, because there is no NVIDIA driver; for CUDA: rm -rf .venv, then SST_TORCH_INDEX=default bash scripts/install.sh'
        # A version from there, as 2.15.0+cpu, counts as newer than the same from pip's own index.
        "${install[@]}" --extra-index-url "$cpu_index" >>"$log" 2>&1 || step 'that failed; torch with CUDA' "${install[@]}"
    fi
}

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt PIP_USE_PEP517=1
pip=("$python" -m pip)

trap 'echo "install: interrupted; run it again to go on" >&2; exit 130' INT
rm -f "$stamp"
if ! fits "$python" || ! "${pip[@]}" --version >/dev/null 2>&1; then
    base=$(find_python)
    echo "install: making .venv with $("$base" --version)"
    "$base" -m venv --clear "$venv"
fi
step 'build tools' "${pip[@]}" install setuptools
install_torch
step 'basicsr' "$python" sst/install_basicsr.py
step 'sst and the rest' "${pip[@]}" install --no-build-isolation --editable '.[dev]'
step 'checking that the packages fit together' "${pip[@]}" check
step 'importing them' "$python" -c 'import cv2, sst, tensorboard; import basicsr.train'
echo "$wanted" >"$stamp"
echo 'install: done'
