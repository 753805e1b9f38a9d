"""BasicSR's log before the run's folder is there: kept in memory, and written once the log file is open."""

import logging
import sys
from contextlib import suppress
from logging.handlers import MemoryHandler
from typing import Any

import basicsr.utils.logger

from sst.utils.visible import visible


class EarlyLog(MemoryHandler):
    """Stands in for BasicSR's log from now on until `open` or `forget`."""

    def __init__(self) -> None:
        super().__init__(sys.maxsize, flushLevel=sys.maxsize)
        forget()
        logger = logging.getLogger('basicsr')
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)
        logger.addFilter(_prepare)
        basicsr.utils.logger.initialized_logger['basicsr'] = True  # else BasicSR opens its own at the first word

    def open(self, *arguments: Any, **keywords: Any) -> logging.Logger:
        """Open BasicSR's log (`get_root_logger`) and write what was said before."""
        logger = basicsr.utils.logger.get_root_logger(*arguments, **keywords)
        for record in self.buffer:
            logger.handle(record)
        self.buffer.clear()
        return logger


def _prepare(record: logging.LogRecord) -> bool:
    """Escape control characters, which file names may hold, and keep out a warning that is wrong for our model."""
    text = record.getMessage()
    record.msg, record.args = '\n'.join(visible(line) for line in text.split('\n')), ()
    return text != 'Multiple validation datasets are *only* supported by SRModel.'


def forget() -> None:
    """Close BasicSR's log, whoever opened it in this process, so that the next `get_root_logger` opens another."""
    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        with suppress(OSError):  # on a full disk the last lines are lost
            handler.close()
    basicsr.utils.logger.initialized_logger.pop('basicsr', None)
