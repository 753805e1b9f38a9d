"""Measures in processes of their own: neither memory nor warmth passes from one row of a table to another."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

LIMIT = 900  # seconds of one process: a kernel that hangs must not hang the whole run


def in_process(program: Path, task: dict[str, Any], limit: float = LIMIT) -> dict[str, Any]:
    """What a program prints last for `--work TASK`, as JSON, in a fresh process.

    {'failed': reason} where that ends badly, {'refused': reason} where memory did not suffice.
    """
    command = [sys.executable, str(program), '--work', json.dumps(task)]
    try:
        answer = subprocess.run(command, capture_output=True, encoding='utf-8', check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return {'failed': f'took longer than {limit:g} s'}
    if answer.returncode == -getattr(signal, 'SIGKILL', 9):
        return {'refused': 'killed by the system: out of memory, most likely'}
    lines = answer.stderr.strip().splitlines() or [f'exit code {answer.returncode}']
    return {'failed': lines[-1]} if answer.returncode else json.loads(answer.stdout.splitlines()[-1])
