#!/usr/bin/env bash
# The long form of what proves docs/reliability.md: kills of training runs, and damaged inputs. At most 30 minutes.
# Arguments go to scripts/soak.py: --minutes 10, --seed 7, --json FILE ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
python=.venv/bin/python
[ -x "$python" ] || python=python
exec nice -n 10 "$python" scripts/soak.py "$@"
