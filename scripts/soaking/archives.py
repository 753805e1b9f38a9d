"""Damaged archives for scripts/prepare_data.py, and what they may leave on the disk."""

import io
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prepare.archives import ARCHIVES
from prepare.unpack import unpack
from soaking.mutations import damaged
from sst.utils.errors import UserError

_DIV2K, _BENCHMARK = ARCHIVES['DIV2K'][0], ARCHIVES['benchmark'][0]
_NAMES = ('DIV2K_train_HR/0001.png', 'benchmark/Set5/HR/a.png', 'benchmark/B100/LR_bicubic/X2/ax2.png', 'readme.txt')
_EVIL = (
    '../evil.png', '../../evil.png', '/tmp/evil.png', 'DIV2K_train_HR/../../evil.png', 'benchmark/Set5/HR/../evil.png',
    'DIV2K_train_HR/..', 'benchmark/Set5/HR/..png', './benchmark/Set5/HR/../../../evil.png', 'C:\\evil.png',
    'DIV2K_train_HR/..\\..\\evil.png', 'benchmark/Set5/HR/\n.png', 'benchmark/Set5/HR/' + 'n' * 300 + '.png', '',
)  # fmt: skip
_LINKS = ('../..', '/etc/passwd', '/tmp', 'benchmark/Set5/HR/a.png', '../../outside')
_KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE)
_LARGEST = 10**6  # bytes that an archive may unpack to
