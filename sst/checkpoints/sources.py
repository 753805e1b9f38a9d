"""Where weights come from: files, the names of those that ship with the package, the Hugging Face hub."""

import os
import re
from pathlib import Path

from sst.utils.errors import UserError, reason_of
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
        UserError: there is no such file, name or address, or a download failed.
    """
    text, path = str(source), Path(os.path.expanduser(source))
    if text.startswith(HUB):
        return download(text)
    if os.path.isdir(path):
        if not (file := path / IN_A_FOLDER).is_file():
            raise UserError(f'{text}: is a folder without {IN_A_FOLDER}; name the weights file in it')
        return file
    if os.path.isfile(path):
        return path
    names = shipped()
    for name, file in names.items():
        if name.casefold() == text.casefold():
            return file
    there = ', '.join(names) or 'none in this installation'
    raise UserError(
        f'{text}: no such file, and no weights of that name ship (there are: {there}){did_you_mean(text, names)}; name '
        'a file or hf://owner/repo/file'
    )


def download(address: str) -> Path:
    """The local copy of `hf://owner/repo[@revision][/file]`; `model.safetensors` where the address names no file.

    Raises:
        UserError: the address has another form or parts that could lead out of the hub's cache, huggingface_hub is not
            installed, or the download failed; in one line.
    """
    match = re.fullmatch(r'hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?', address)
    parts = re.split('[/@]', address.removeprefix(HUB))
    if not match or not address.isprintable() or '\\' in address or {'', '.', '..'} & set(parts):
        raise UserError(
            f'{address if address.isprintable() else repr(address)}: is no address of weights; use '
            'hf://owner/repo/file or hf://owner/repo, without empty parts, "." and ".."'
        )
    instead = ', or download the file and name it instead'
    require('huggingface_hub', 'hf_hub_download', 'hub', f'{address}: the hub', instead)
    from huggingface_hub import hf_hub_download

    repository, revision, name = match.groups()
    try:
        return Path(hf_hub_download(repository, name or IN_A_FOLDER, revision=revision))
    except Exception as fault:  # the network, a wrong name, rights: the hub's errors have no base of their own
        raise UserError(f'{address}: cannot be downloaded: {reason_of(fault)}') from fault
