#!/usr/bin/env bash
# Installs (scripts/install.sh), then the linter and formatter, the type checker and the tests. Arguments go to pytest: -k stream, -x ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install.sh

# Several processes share the cores: threads that spin while they wait would cost ten times the time.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
python=.venv/bin/python
"$python" -m ruff check
"$python" -m ruff format --check
"$python" -m mypy sst scripts
"$python" -m pytest -n 2 "$@"
