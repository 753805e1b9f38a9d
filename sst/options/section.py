"""What all sections of an option file share: strict types and no unknown keys."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from sst.options.faults import Path, fault, faults_of, not_one_of, refuse, shown

STRICT = ConfigDict(strict=True, extra='forbid', allow_inf_nan=False)


class Section(BaseModel):
    """A mapping of the option file. 4 is a number where 4.0 is; "4", 4.0 and true are not integers."""

    model_config = STRICT
    when: ClassVar[str] = ''  # what the keys depend on, for messages, such as ' with type SST'

    @model_validator(mode='wrap')
    @classmethod
    def _in_words(cls, value: Any, validate: Callable[[Any], Self]) -> Self:
        try:
            return validate(value)
        except ValidationError as error:
            refuse(faults_of(error, cls))
            raise


class OpenSection(Section):
    """A section that also takes keys which it does not declare."""

    model_config = STRICT | ConfigDict(extra='allow')

    @model_validator(mode='after')
    def _finite(self) -> Self:
        found = _not_finite(dict(self), ())
        refuse([(place, f'must be a finite number, not {shown(value)}') for place, value in found])
        return self


def _not_finite(value: Any, place: Path) -> Iterator[tuple[Path, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, (Mapping, list)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _not_finite(item, (*place, key))


def only(*allowed: str | int) -> BeforeValidator:
    """For a choice among integers: unlike `Literal` it does not take 2.0 for 2 or false for 0."""

    def check(value: Any) -> Any:
        if any(value == choice and type(value) is type(choice) for choice in allowed):
            return value
        raise fault(not_one_of(value, allowed))

    return BeforeValidator(check)
