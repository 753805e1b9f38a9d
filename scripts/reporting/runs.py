"""What runs left behind: curves under experiments/, figures under results/."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sst.driver.record import options_at

Curve = tuple[list[int], list[float]]  # iterations and values


@dataclass(frozen=True)
class Training:
    """The folder of a training run."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options that the run has now, after it went on with others; empty if there are none."""
        return read_yaml(options_at(self.folder))

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """What TensorBoard has of the run, by tag, as `losses/l_pix` or `metrics/Set5/psnr`."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        folder = self.folder / 'tb_logger'
        if not folder.is_dir():
            return {}
        events = EventAccumulator(str(folder), size_guidance={'scalars': 0, 'images': 1})
        events.Reload()
        found = {tag: events.Scalars(tag) for tag in events.Tags()['scalars']}
        return {tag: ([e.step for e in values], [e.value for e in values]) for tag, values in found.items()}

    @property
    def iteration(self) -> int:
        """The last iteration that was logged; 0 if there is none."""
        return max((steps[-1] for steps, _ in self.curves.values() if steps), default=0)

    @property
    def weights(self) -> Path:
        """The weights at the end of the run."""
        return self.folder / 'models' / 'net_g_latest.pth'

    def median(self, tag: str) -> float | None:
        """The median of a curve without its first value, which contains the start; None if there is none."""
        values = self.curves.get(tag, ([], []))[1]
        ordered = sorted(values[1:] or values)
        return ordered[len(ordered) // 2] if ordered else None


@dataclass(frozen=True)
class Tested:
    """The folder of a test."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def options(self) -> dict[str, Any]:
        return read_yaml(self.folder / 'options.yml')

    @cached_property
    def sets(self) -> dict[str, dict[str, float]]:
        """{set: {metric: mean, 'images': n}}; empty if the test has not ended."""
        try:
            found = json.loads((self.folder / 'metrics.json').read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return {}
        return {name: {key: float(value) for key, value in row.items()} for name, row in found.items()}


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
