"""From an option file and the command line to checked options."""

import logging
import os
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from sst.options.faults import Fault, OptionsError, Path, dotted, faults_of, options_error
from sst.options.from_weights import complete
from sst.options.imports import load_parts
from sst.options.merging import COMMAND_LINE, Merged, read_chain, take_out
from sst.options.references import resolve, source_of, without_followers
from sst.options.schema import Options
from sst.options.translation import why_not_needed
from sst.utils.errors import UserError


def load_options(path: str | os.PathLike, overrides: Iterable[str] | None = (), **how: Any) -> dict[str, Any]:
    """As `checked_options`, in plain Python: mappings, lists and single values."""
    return checked_options(path, overrides, **how).plain()


def checked_options(
    path: str | os.PathLike,
    overrides: Iterable[str] | None = (),
    *,
    processes: int = 1,
    root: str | os.PathLike = '.',
) -> Options:
    """Read an option file with the files of its `_base_`, and check every key.

    Args:
        path (str | PathLike): the option file.
        overrides (Iterable[str] | None): changes of the command line, each `a:b:c=value`; the value is YAML, a number
            among the keys names an entry of a list. They come after all files and before `${...}` is followed.

        processes (int): how many train together; only BasicSR's `batch_size_per_gpu` needs it.
        root (str | PathLike): where weights are looked for whose network is taken (`network_g: {type: from_weights}`).

    Returns:
        Options: all options, defaults filled in. A dataset or metric that is set to null is left out.

    Raises:
        OptionsError: one line per fault, `<file>: <key>: <what was given>, <what is allowed>`.
    """
    merged = read_chain(path, processes)
    _override(merged, overrides or ())
    _import(merged)

    def prefix(place: Path) -> str:
        return f'{merged.origin(place)}: '

    try:
        complete(merged, root)
        data, unresolved = resolve(merged.data)
    except ValueError as error:
        raise OptionsError(f'{merged.leaf}: {error}') from None
    _leave_out(data)
    options, faults = _checked(data, merged)
    unknown = {place for place, _ in unresolved}
    faults = unresolved + [(place, text) for place, text in faults if not _within(place, unknown)]
    if options is None or faults:
        faults = [(_blamed(place, merged), text) for place, text in without_followers(faults, merged.data)]
        raise options_error(list(dict.fromkeys(faults)), prefix)
    for note in merged.notes:
        logging.getLogger('basicsr').info(note)
    return options


def _checked(data: dict[str, Any], merged: Merged) -> tuple[Options | None, list[Fault]]:
    """The options or what is wrong with them.

    Keys that only BasicSR needs are left out, and so are those of a base that a file's new `type` does not take.
    """
    while True:
        try:
            return Options.model_validate(data), []
        except ValidationError as error:
            faults = faults_of(error, Options)
        useless = {place for place, _ in faults if place in merged.inherited or why_not_needed(place)}
        if not useless:
            return None, faults
        merged.notes += [
            f'{merged.origin(place)}: {dotted(place)}: not needed, because {why_not_needed(place)}'
            for place in sorted(useless)
            if why_not_needed(place)
        ]
        merged.inherited -= useless
        take_out(data, useless)


def _blamed(place: Path, merged: Merged) -> Path:
    """The key that the command line changed, where a value is taken from it."""
    source = source_of(place, merged.data)
    return source if merged.origin(source) == COMMAND_LINE else place


def _within(place: Path, places: set[Path]) -> bool:
    return any(place[:length] in places for length in range(len(place) + 1))


def _override(merged: Merged, overrides: Iterable[str]) -> None:
    lines = []
    for text in overrides:
        try:
            merged.override(text)
        except OptionsError as error:
            lines += error.faults
    if lines:
        raise OptionsError(*lines)


def _import(merged: Merged) -> None:
    """Load the user's modules that register parts."""
    names = merged.data.get('imports')
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return  # the checks tell
    origin = merged.origin(('imports',))
    try:
        merged.data['imports'] = load_parts(names, '.' if origin == COMMAND_LINE else os.path.dirname(origin))
    except UserError as error:
        raise OptionsError(f'{origin}: {error}') from error
    merged.notes += [f'{origin}: imports: {name} was loaded' for name in merged.data['imports']]


def _leave_out(data: dict[str, Any]) -> None:
    """Take out the data sets and metrics that are null: a file leaves out what its base has."""
    val = data.get('val')
    for section in (data.get('datasets'), val.get('metrics') if isinstance(val, dict) else None):
        if isinstance(section, dict):
            for key in [key for key, value in section.items() if value is None]:
                del section[key]
