#!/usr/bin/env bash
# From nothing to pictures: installs, makes a small dataset without download, trains SST, tests it against bicubic.
# May be interrupted at any point and run again: each step goes on where it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install.sh

export OMP_WAIT_POLICY=PASSIVE  # on busy cores, threads that spin while they wait would cost ten times the time
python=.venv/bin/python
"$python" scripts/prepare_data.py demo
"$python" sst/train.py -opt options/demo.yml --auto_resume
"$python" sst/test.py -opt options/test_demo.yml
"$python" sst/test.py -opt options/test_demo_bicubic.yml
"$python" scripts/demo_report.py
cat <<'END'

Next:
  .venv/bin/sst-upscale datasets/demo/val/HR/coffee.png
                                                       a picture, twice as large; or name yours: photo.jpg
  .venv/bin/sst-demo                                   the same in a browser
  .venv/bin/tensorboard --logdir experiments           curves of the training
  bash scripts/test.sh                                 all tests
  .venv/bin/python sst/train.py -opt options/train_SST_L_x2.yml --dry-run
                                                       the paper's model: what it needs, before it is trained
END
