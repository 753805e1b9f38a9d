#!/usr/bin/env bash
# Fetches what SST needs beside PyTorch, for a GPU machine without network: bash scripts/gpu_wheels.sh FOLDER
# Run it where pip works, carry the folder over, and check there: WHEELS=FOLDER PYTHON=python3 bash scripts/gpu_check.sh
# The machine's Python needs the large packages already, as images for PyTorch have them: torch, torchvision, numpy,
# scipy, OpenCV, scikit-image, tensorboard, pytest, hypothesis, matplotlib and rich.
#   PYTHON_VERSION   the machine's (3.12), on x86-64 Linux
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -ne 1 ]; then
    echo 'error: name one folder for the wheels: bash scripts/gpu_wheels.sh FOLDER' >&2
    exit 2
fi
folder=$1
version=${PYTHON_VERSION:-3.12}
python=${PYTHON:-.venv/bin/python}
packages=(addict annotated-types future lmdb omegaconf platformdirs pydantic pydantic_core typing_extensions
    typing-inspection yapf)

platforms=()
for glibc in 28 27 24 17; do
    platforms+=(--platform "manylinux_2_${glibc}_x86_64")
done
mkdir -p "$folder"
PIP_CONSTRAINT=constraints.txt "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" \
    --python-version "$version" --implementation cp --abi "cp${version/./}" --abi abi3 --abi none \
    "${platforms[@]}" --platform manylinux2014_x86_64 "${packages[@]}"
"$python" sst/install_basicsr.py --wheel "$folder" --quiet
echo "gpu_wheels: $(find "$folder" -name '*.whl' | wc -l) wheels, $(du -sh "$folder" | cut -f1), in $folder"
