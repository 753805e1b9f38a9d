"""Trains and tests one run in processes of its own, and keeps what came of it."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarking.rows import AUTO_DTYPES, Row
from measuring.processes import in_process
from reporting.runs import Tested, Training
from sst.utils.errors import UserError
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text
from standings.measure import COUNTED

ROOT = Path(__file__).resolve().parents[2]
LEAGUE = ROOT / 'scripts' / 'league.py'
TRAIN = 'import sys; from sst.train import main; sys.exit(main())'  # sst-train, with data and runs where it is called
TEST = 'import sys; from sst.test import main; sys.exit(main())'
DIVERGED, INTERRUPTED = 3, 130
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


@dataclass
class Outcome:
    """What came of a run."""

    name: str
    end: str  # finished, diverged, or why it failed
    iteration: int = 0
    seconds: float | None = None  # of a step
    memory: float | None = None  # GB, in training
    latency: float | None = None  # ms of an image
    inference: float | None = None  # MB that it takes
    sets: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether the run need not be tried again."""
        return self.end in ('finished', 'diverged')


def train_and_test(options: Path, text: str, test: Path, name: str, root: Path) -> Outcome:
    """Train what `text` says, unless that was done before, then test the weights.

    A run that was interrupted goes on where it stopped. A run whose options have changed begins anew; the older one is
    renamed by the training program.

    Args:
        options (Path): where the option file is kept; `<options>.json` beside it keeps the outcome.
        text (str): the option file.
        test (Path): the option file of the test.
        name (str): the run's name.
        root (Path): the folder of datasets/, experiments/ and results/.
    """
    kept = options.with_suffix('.json')
    same = options.is_file() and options.read_text(encoding='utf-8') == text
    if same and (before := _read(kept)) and before.final:
        return before
    kept.unlink(missing_ok=True)
    atomic_write_text(options, text)
    training = Training(root / 'experiments' / name)
    code, last = call(TRAIN, ['-opt', str(options.resolve()), *(['--auto_resume'] if same else [])], root)
    if code == DIVERGED:
        outcome = Outcome(name, 'diverged', training.iteration)
    elif code:
        return Outcome(name, last)
    else:
        outcome = tested(training, test, root)
    outcome.seconds, outcome.memory = training.median('time'), training.median('memory')
    add_inference(outcome, options, DEVICE)
    atomic_write_text(kept, json_text(asdict(outcome), indent=1) + '\n')
    return outcome


def tested(training: Training, test: Path, root: Path) -> Outcome:
    """Test the weights at the end of a run."""
    weights = training.weights.relative_to(root)
    changes = [f'name={training.name}', f'path:pretrain_network_g={weights}']
    code, last = call(TEST, ['-opt', str(test.resolve()), '--force_yml', *changes], root)
    if code:
        return Outcome(training.name, last)
    sets = Tested(root / 'results' / training.name).sets
    return Outcome(training.name, 'finished', training.iteration, sets=sets)


def add_inference(outcome: Outcome, options: Path, device: str) -> None:
    """Measure latency and memory of the network of an option file, in a process of its own.

    The SR image has the paper's size on CUDA and 128 x 128 pixels elsewhere. What cannot be measured stays None.
    """
    width, height = COUNTED if device == 'cuda' else (128, 128)
    dtype = AUTO_DTYPES.get((device, 'inference'), 'float32')
    row = Row(str(options), 2, 'fast', 'auto', dtype, 'inference', 1, height // 2, width // 2, device, 5, 10.0)
    answer = in_process(LEAGUE, {'what': 'latency', 'row': asdict(row)})
    if answer.get('times'):
        outcome.latency, outcome.inference = 1000 * statistics.median(answer['times']), answer['memory'] / 1e6


def call(program: str, arguments: Sequence[str], root: Path) -> tuple[int, str]:
    """The exit code of one of our programs, and the last line that it said. A terminal shows its own bar.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    shown = sys.stderr.isatty()
    answer = subprocess.run(
        [sys.executable, '-c', program, *arguments],
        cwd=root,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        encoding='utf-8',
        errors='replace',
    )
    if answer.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    lines = [line for line in (answer.stdout or '').splitlines() if line.strip()]
    errors = [line.removeprefix('error: ') for line in lines if line.startswith('error: ')]
    return answer.returncode, (errors or lines or [f'exit code {answer.returncode}'])[-1]


def _read(path: Path) -> Outcome | None:
    try:
        found: Any = json.loads(path.read_text(encoding='utf-8'))
        return Outcome(**found)
    except (OSError, ValueError, TypeError):
        return None


def require_demo_data(root: Path) -> None:
    """Raise UserError if the demo's photographs are not there."""
    if not (root / 'datasets' / 'demo' / 'train' / 'HR').is_dir():
        raise UserError("datasets/demo: the demo's photographs are not there; run: python scripts/prepare_data.py demo")
