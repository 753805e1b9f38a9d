"""BasicSR's log before the run's folder exists. It is kept in memory and written when the log file opens."""

import logging
import sys
from contextlib import suppress
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

import basicsr.utils.logger

from sst.utils.visible import visible


class EarlyLog(MemoryHandler):
    """Replaces BasicSR's log until `open` or `forget` is called."""

    def __init__(self) -> None:
        super().__init__(sys.maxsize, flushLevel=sys.maxsize)
        forget()
        logger = logging.getLogger('basicsr')
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)
        logger.addFilter(_prepare)
        basicsr.utils.logger.initialized_logger['basicsr'] = True  # else BasicSR opens its own at the first word

    def open(self, *, log_file: str, **keywords: Any) -> logging.Logger:
        """Open BasicSR's log (`get_root_logger`) and write the earlier messages. An older file is never overwritten."""
        logger = basicsr.utils.logger.get_root_logger(log_file=_unused(Path(log_file)), **keywords)
        for record in self.buffer:
            logger.handle(record)
        self.buffer.clear()
        return logger


def _unused(file: Path) -> Path:
    """The file, or one like it where a run was started twice within the second that its name tells."""
    names = (file.with_stem(f'{file.stem}{number}') for number in ('', *(f'_{count}' for count in range(2, 1000))))
    return next(name for name in names if not name.exists())


def _prepare(record: logging.LogRecord) -> bool:
    """Escape control characters, which file names may contain, and drop a warning that is wrong for our model."""
    text = record.getMessage()
    record.msg, record.args = '\n'.join(visible(line) for line in text.split('\n')), ()
    return text != 'Multiple validation datasets are *only* supported by SRModel.'


def forget() -> None:
    """Close BasicSR's log, so that the next `get_root_logger` opens a new one."""
    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        with suppress(OSError):  # on a full disk the last lines are lost
            handler.close()
    basicsr.utils.logger.initialized_logger.pop('basicsr', None)
