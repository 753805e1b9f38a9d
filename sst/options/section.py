"""What all sections of an option file share: strict types, no unknown keys, members of a union told apart by `type`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator

from sst.options.faults import fault, not_one_of

STRICT = ConfigDict(strict=True, extra='forbid', allow_inf_nan=False)


class Section(BaseModel):
    """A mapping of the option file. 4 is a number where 4.0 is; "4", 4.0 or true are no integers."""

    model_config = STRICT


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
