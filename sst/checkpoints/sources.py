"""Where weights come from: files, the names of those that ship with the package, the Hugging Face hub."""

import contextlib
import os
import re
from pathlib import Path

from sst.utils.errors import UserError
from sst.utils.optional import require
from sst.utils.suggest import did_you_mean

FOLDER = Path(__file__).resolve().parents[1] / 'weights'
HUB = 'hf://'
IN_A_FOLDER = 'model.safetensors'  # what save_pretrained writes into a folder, and the hub's usual name
CONFIG = 'config.json'


def shipped() -> dict[str, Path]:
    """The weights that ship with the package, by name: every safetensors file in sst/weights."""
    return {file.stem: file for file in sorted(FOLDER.glob('*.safetensors'))}


def find_weights(source: str | Path) -> Path:
    """The file of weights that somebody named.

    Args:
        source (str | Path): a file; a folder that holds `model.safetensors`; the name of shipped weights, upper or
            lower case; or an address `hf://owner/repo[@revision][/file]`, downloaded into the hub's cache once.

    Raises:
        UserError: none of these, with the names there are; or a download that failed.
    """
    text = str(source)
    if text.startswith(HUB):
        return download(text)
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.isfile(path):
        return path
    names = shipped()
    for name, file in names.items():
        if name.casefold() == text.casefold():
            return file
    there = ', '.join(names) or 'none in this installation'
    raise UserError(
        f'{text}: no such file and no name of weights that ship (there: {there}){did_you_mean(text, names)}; a file or '
        'hf://owner/repo/file may be given'
    )


def _in_folder(folder: Path) -> Path:
    if (file := folder / IN_A_FOLDER).is_file():
        return file
    raise UserError(f'{folder}: a folder without {IN_A_FOLDER}; name the weights file in it')


def download(address: str) -> Path:
    """The local file of `hf://owner/repo[@revision][/file]`; without a file `model.safetensors`, its config beside it.

    Raises:
        UserError: an address of another form or with parts that could lead out of the hub's cache, huggingface_hub not
            installed, or a download that failed; in one line.
    """
    match = re.fullmatch(r'hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?', address)
    parts = re.split('[/@]', address.removeprefix(HUB))
    if not match or not address.isprintable() or '\\' in address or {'', '.', '..'} & set(parts):
        raise UserError(
            f'{address if address.isprintable() else repr(address)}: no address of weights; allowed are '
            'hf://owner/repo/file and hf://owner/repo, without empty parts, "." and ".."'
        )
    repository, revision, name = match.groups()
    if name:
        return _fetch(address, repository, name, revision)
    file = _fetch(address, repository, IN_A_FOLDER, revision)
    with contextlib.suppress(UserError):  # the weights' file itself may tell all
        _fetch(address, repository, CONFIG, revision)
    return file


def _fetch(address: str, repository: str, name: str, revision: str | None) -> Path:
    require(
        'huggingface_hub', 'hf_hub_download', 'hub', f'{address}: the hub', ', or download the file and name it instead'
    )
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except Exception as fault:  # the network, a wrong name, rights: the hub's errors have no base of their own
        reason = ' '.join(str(fault).split())[:300] or type(fault).__name__
        raise UserError(f'{address}: cannot be downloaded: {reason}') from fault
