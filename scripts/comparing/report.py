"""The outcome as a table and a chart."""

from pathlib import Path
from typing import Any


def print_table(outcome: dict[str, Any]) -> None:
    for c in outcome['curves']:
        print(c['name'], c['losses'][-1], c['mean'], c['max'], c['smoothed'])


def write_chart(outcome: dict[str, Any], path: Path) -> None:
    pass
