"""What all sections of an option file share: strict types, no unknown keys, members of a union told apart by `type`."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, model_validator

from sst.options.faults import Path, fault, not_one_of, refuse, shown

STRICT = ConfigDict(strict=True, extra='forbid', allow_inf_nan=False)


class Section(BaseModel):
    """A mapping of the option file. 4 is a number where 4.0 is; "4", 4.0 or true are no integers."""

    model_config = STRICT


class OpenSection(Section):
    """A section whose other keys are parameters of what its `type` names."""

    model_config = STRICT | ConfigDict(extra='allow')

    @model_validator(mode='after')
    def _finite(self) -> Self:
        found = _not_finite(self.model_extra, ())
        refuse([(place, f'{shown(value)}, allowed is a finite number') for place, value in found])
        return self


def _not_finite(value: Any, place: Path) -> Iterator[tuple[Path, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, (Mapping, list)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _not_finite(item, (*place, key))


def only(*allowed: str | int) -> BeforeValidator:
    """For a choice that has integers: unlike `Literal` it does not take 2.0 for 2 or false for 0."""

    def check(value: Any) -> Any:
        if any(value == choice and type(value) is type(choice) for choice in allowed):
            return value
        raise fault(not_one_of(value, allowed))

    return BeforeValidator(check)


def by_type(*known: str) -> Discriminator:
    """Tells the members of a union apart by `type`.

    The members' tags are `<type>`; with `known` given, any type that is not among them has the tag `<other>`.
    """

    def tag(value: Any) -> str | None:
        kind = value.get('type') if isinstance(value, Mapping) else getattr(value, 'type', None)
        if not isinstance(kind, str):
            return None
        return f'<{kind}>' if not known or kind in known else '<other>'

    return Discriminator(tag)
