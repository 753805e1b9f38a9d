#!/usr/bin/env bash
# Installs SST and everything it needs, at the tested versions, into .venv. Fast when there is nothing to do.
#   SST_PYTHON       the Python (3.11 or 3.12) to make .venv with; else the first of python3.12, python3.11, python3 that fits
#   SST_TORCH_INDEX  wheel index for torch, e.g. https://download.pytorch.org/whl/cpu
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="$PWD/.venv"
python="$venv/bin/python"
log="$venv/install.log"
stamp="$venv/installed"

fits() {  # does this Python run, is it 3.11 or 3.12, can it make environments?
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' 2>/dev/null
}

find_python() {
    local candidate candidates=(python3.12 python3.11 python3)
    if [ -n "${SST_PYTHON:-}" ]; then
        candidates=("$SST_PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "error: SST needs Python 3.11 or 3.12 with its venv module; tried: ${candidates[*]}." >&2
    echo '  Install one (Debian, Ubuntu: apt install python3.12-venv) or name yours: SST_PYTHON=/path/to/python3.12 bash scripts/install.sh' >&2
    exit 2
}

# The venv's folder belongs to the stamp: a venv does not survive being moved.
wanted="$venv $(cat setup.py requirements.txt constraints.txt scripts/install.sh | cksum)"
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

# basicsr asks for tb-nightly and opencv-python. Beside tensorboard and opencv-python-headless these would install the same
# files twice, so its source is built with these two names changed.
install_basicsr() {
    local work="$venv/basicsr-source"
    rm -rf "$work" &&
        "${pip[@]}" download --no-deps --no-binary basicsr --no-build-isolation --dest "$work" basicsr &&
        tar -xzf "$work"/basicsr-*.tar.gz -C "$work" --strip-components=1 &&
        sed -e 's/^tb-nightly$/tensorboard/' -e 's/^opencv-python$/opencv-python-headless/' "$work/requirements.txt" >"$work/changed" &&
        mv "$work/changed" "$work/requirements.txt" &&
        "${pip[@]}" install --no-deps --no-build-isolation "$work" &&
        rm -rf "$work"
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
step 'build tools' "${pip[@]}" install setuptools wheel
step 'torch and torchvision (with CUDA several gigabytes, the longest step)' \
    "${pip[@]}" install ${SST_TORCH_INDEX:+--index-url "$SST_TORCH_INDEX"} torch torchvision
step 'basicsr' install_basicsr
step 'sst and the rest' "${pip[@]}" install --no-build-isolation --editable '.[dev]'
step 'checking that the packages fit together' "${pip[@]}" check
step 'importing them' "$python" -c 'import cv2, sst, tensorboard; import basicsr.train'
echo "$wanted" >"$stamp"
echo 'install: done'
