"""Parts that an option file names by `type`: each is a class with its options beside it, known to a registry.

The options of a part are its inner class `Options`, a `PartOptions`. A part that is a `PartOptions` itself is its own
options. Any other part, such as one of BasicSR's, has the options that the signature of its constructor tells.
"""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    create_model,
    model_serializer,
)
from pydantic_core import core_schema

from sst.options.faults import fault, not_one_of, refuse, shown
from sst.options.section import STRICT, OpenSection, Section
from sst.utils.errors import UserError

Part = TypeVar('Part', bound=Callable)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
SIMPLE = (bool, int, float, str, type(None))


class PartOptions(Section):
    """The options of a part."""

    type: str = Field(description='name of the part')


class FromSignature(OpenSection):
    """The options of a part that only its constructor's signature tells; those that are left out stay left out."""

    from_signature: ClassVar[frozenset[str]] = frozenset()
    type: str = Field(description='name of the part')

    @model_serializer
    def _given(self) -> dict[str, Any]:
        left_out = self.from_signature - self.model_fields_set
        return {key: value for key, value in self if key not in left_out}


class Registry(Mapping[str, Any]):
    """The parts of one kind by their names.

    Args:
        kind (str): what a part is, such as 'a positional bias'.
        given (Collection[str]): parameters of a part's constructor that the program gives, not the option file.
        base (type): what the options of every part of this kind share, where the signature tells the rest.
        unfit (Mapping): names that must not be used, and why.
        unchecked (bool): whether parts without `Options` take any key.
    """

    def __init__(
        self,
        kind: str,
        given: Collection[str] = (),
        base: type[FromSignature] = FromSignature,
        unfit: Mapping[str, str] | None = None,
        unchecked: bool = False,
    ) -> None:
        self.kind, self.given, self.base, self.unfit = kind, frozenset(given), base, unfit or {}
        self.unchecked = unchecked
        self._parts: dict[str, Any] = {}
        self._sections: dict[Any, type[Section]] = {}

    def register(self, *names: str) -> Callable[[Part], Part]:
        """A decorator that enters a class or function, under its own name if no other is given.

        Raises:
            ValueError: another part has the name.
        """

        def enter(part: Part) -> Part:
            for name in names or (part.__name__,):
                if name in self._parts:
                    raise ValueError(f'{self.kind} {name} is registered already')
                self._parts[name] = part
            return part

        return enter

    def is_ours(self, name: str) -> bool:
        """Whether a part's own keys are all known and belong to this program."""
        return self[name].__module__.startswith('sst.')

    def parts(self) -> Mapping[str, Any]:
        """Names and parts."""
        return self._parts

    def __getitem__(self, name: str) -> Any:
        return self.parts()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts())

    def __len__(self) -> int:
        return len(self.parts())

    def section(self, name: str, *shared: type[Section]) -> type[Section]:
        """The section of an option file that describes a part; `shared` sections add their keys to it."""
        key = (name, self[name], *shared)
        if key not in self._sections:
            part = self[name]
            own: Any = part if _is_section(part) else getattr(part, 'Options', None)
            if not _is_section(own):
                own = self.base if self.unchecked else from_signature(name, part, self.given, self.base)
            title = f'{name}{"".join(section.__name__ for section in shared)}'
            doc = inspect.getdoc(own if own is part else part) or ''
            kind: Any = Literal[name]
            self._sections[key] = create_model(
                f'{title} as {self.kind}',
                __base__=(*shared, own),
                __doc__=doc.partition('\n\n')[0],
                type=(kind, Field(default=name, description=self.kind)),
            )
            self._sections[key].when = f' with type {name}'
        return self._sections[key]

    def build(self, options: Mapping[str, Any] | str, **given: Any) -> Any:
        """The part that options describe: its constructor gets them and those of `given` that it names."""
        options = {'type': options} if isinstance(options, str) else options
        part = self[options['type']]
        if _is_section(part):
            return self.section(options['type']).model_validate(dict(options))
        wanted = {key: value for key, value in given.items() if key in parameters_of(part)}
        return part(**{key: value for key, value in options.items() if key != 'type'}, **wanted)


class part_of:  # noqa: N801 - stands among annotations, as pydantic's own
    """Annotation of a field that describes a part of a registry.

    Args:
        registry (Registry): the parts.
        shared (type[Section]): sections whose keys every part has here.
        plain (bool): whether a name alone may stand in the file, too.
        nullable (bool): whether null may stand in the file.
        special (Mapping): types that are no parts, and their sections.
    """

    def __init__(
        self,
        registry: Registry,
        *shared: type[Section],
        plain: bool = False,
        nullable: bool = False,
        special: Mapping[str, type[Section]] | None = None,
    ) -> None:
        self.registry, self.shared, self.special = registry, shared, special or {}
        self.plain, self.nullable = plain, nullable

    def validate(self, value: Any) -> Any:
        """The checked section of a part, or the name alone where that stands in the file."""
        if isinstance(value, Section) or (self.nullable and value is None):
            return value
        if self.plain and isinstance(value, str):
            self._section({'type': value}).model_validate({'type': value})
            return value
        if not isinstance(value, Mapping):
            kinds = (
                not_one_of(value, self._names()) if self.plain else f'must be a mapping with a type, not {shown(value)}'
            )
            raise fault(kinds)
        return self._section(value).model_validate(dict(value))

    def _names(self) -> list[str]:
        """The types that may stand in the file: special ones, ours, then others."""
        ours = [name for name in self.registry if self.registry.is_ours(name)]
        others = sorted(set(self.registry) - {*ours, *self.registry.unfit})
        return [*self.special, *ours, *others]

    def _section(self, value: Mapping[str, Any]) -> type[Section]:
        place = () if self.plain else ('type',)
        names = self._names()
        if 'type' not in value:
            refuse([(('type',), f'missing: give the name of {self.registry.kind}, one of {", ".join(names)}')])
        name = value['type']
        if isinstance(name, str) and name in self.special:
            return self.special[name]
        if isinstance(name, str) and name in self.registry.unfit:
            why = self.registry.unfit[name]
            refuse([(place, f'{shown(name)} {why}; use another one of {", ".join(names)}')])
        if not isinstance(name, str) or name not in self.registry:
            refuse([(place, not_one_of(name, names, self.registry.kind))])
        try:
            return self.registry.section(name, *self.shared)
        except UserError as error:  # it needs a package that is not there
            refuse([(place, str(error))])
            raise

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        def dump(value: Any, info: Any) -> Any:
            return value.model_dump(mode=info.mode) if isinstance(value, Section) else value

        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(dump, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Our own parts with all their keys; of others the names alone."""
        ours = [name for name in self.registry if self.registry.is_ours(name)]
        sections = [*self.special.values(), *(self.registry.section(name, *self.shared) for name in ours)]
        members = [handler(section.__pydantic_core_schema__) for section in sections]
        base = self.registry.base
        others = create_model(base.__name__, __base__=(*self.shared, base), __doc__=base.__doc__)
        other_type = {'properties': {'type': {'not': {'enum': [*self.special, *ours]}}}, 'required': ['type']}
        members.append({'allOf': [handler(others.__pydantic_core_schema__), other_type]})
        if self.plain:
            members.append({'type': 'string'})
        if self.nullable:
            members.append({'type': 'null'})
        return {'anyOf': members}


def _is_section(item: Any) -> bool:
    return inspect.isclass(item) and issubclass(item, Section)


def from_signature(
    name: str, part: Callable, given: Collection[str] = (), base: type[FromSignature] = FromSignature
) -> type[Section]:
    """The section that a class's or function's named parameters make, without those that are `given`."""
    parameters = {key: item for key, item in parameters_of(part).items() if key not in given}
    fields: dict[str, Any] = {}
    for key, item in parameters.items():
        if key in base.model_fields:
            continue
        required = item.default is inspect.Parameter.empty
        fields[key] = (_kind(item), Field(default=... if required else item.default))
    extra: Literal['allow', 'forbid'] = 'allow' if not parameters and takes_anything(part) else 'forbid'
    section = create_model(name, __base__=base, **fields)
    section.model_config = STRICT | ConfigDict(extra=extra)
    section.from_signature = frozenset(fields)
    section.model_rebuild(force=True)
    return section


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise fault(f'must be a number, not {shown(value)}')
    return value


Number = Annotated[Any, PlainValidator(_number), WithJsonSchema({'type': 'number'})]  # integers stay what they are


def _kind(item: inspect.Parameter) -> Any:
    """What a parameter takes, as far as annotation and default tell."""
    annotation, default = item.annotation, item.default
    simple = get_args(annotation) if get_origin(annotation) in (Union, type(int | str)) else (annotation,)
    if get_origin(annotation) is Literal or all(kind in SIMPLE for kind in simple):
        return annotation | None if default is None else annotation
    for kind, meant in ((bool, bool), ((int, float), Number), (str, str), ((list, tuple), list)):
        if isinstance(default, kind):
            return meant
    return Any


def parameters_of(target: Callable) -> dict[str, inspect.Parameter]:
    """Named parameters of a function or constructor, with those that a class hands on to its bases as `**kwargs`."""
    found: dict[str, inspect.Parameter] = {}
    for function in _calls(target):
        items = list(inspect.signature(function).parameters.items())[inspect.isclass(target) :]  # without self
        found = {key: item for key, item in items if item.kind in NAMED} | found
    return found


def takes_anything(target: Callable) -> bool:
    """Whether a function or constructor takes keywords that nothing names."""
    calls = _calls(target)
    return bool(calls) and _has_kwargs(calls[-1])


def _calls(target: Callable) -> list[Callable]:
    """What is called: the function, or a class's constructor and those that it hands keywords on to."""
    if not inspect.isclass(target):
        return [target]
    found: list[Callable] = []
    for cls in target.__mro__:
        if cls.__module__ != 'torch.nn.modules.module' and cls is not object and '__init__' in vars(cls):
            found.append(vars(cls)['__init__'])
            if not _has_kwargs(found[-1]):
                break
    return found


def _has_kwargs(function: Callable) -> bool:
    kinds = (item.kind for item in inspect.signature(function).parameters.values())
    return inspect.Parameter.VAR_KEYWORD in kinds
