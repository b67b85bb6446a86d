"""Immutable values with named fields: frozen dataclasses that cost an import next to nothing."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, NoReturn, Self, cast, dataclass_transform

# `Record` defines every method once. If `dataclass` generated methods for each of thirty classes,
# the package's own modules would take a third longer to import.
_without_methods = dataclass(init=False, eq=False, repr=False, match_args=False, frozen=True)


class _Fields:
    """The fields of a record class, made when `dataclasses` or a serializer first reads them.

    Even without methods, `dataclass` compiles code for each class, and most programs use few.
    """

    def __get__(self, record: object, kind: type[Record]) -> dict[str, Field[Any]]:
        _without_methods(kind)  # replaces this object
        return kind.__dataclass_fields__


class _Signature:
    """The signature of a record class, made of its fields when `inspect` or `help` asks for it."""

    def __get__(self, record: object, kind: type[Record]) -> inspect.Signature:
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=field.type,
            )
            for field in fields(kind)
        ]
        return inspect.Signature(parameters)


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """A frozen dataclass whose fields are passed by name.

    A subclass states its fields, and may check their values. It is a dataclass for everyone who
    asks: `asdict`, `replace`, `fields`, serializers.
    """

    __signature__: ClassVar[_Signature] = _Signature()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - the annotations of a subclass say it
        # mypy takes the hash of a record for the hash of its class.
        names, defaults = _names_and_defaults(type(self))  # type: ignore[arg-type]
        values = defaults | values
        if len(values) == len(names) and all(name in values for name in names):
            vars(self).update({name: values[name] for name in names})
            error = self._error()
        else:
            message = f"{type(self).__name__} takes exactly these keyword arguments: {names}"
            error = TypeError(message)
        if error is not None:
            del self, values  # an error tracker records the locals of the frame that raises
            raise error

    def _error(self) -> Exception | None:
        """Return the error that says which values are invalid; `None` if all are valid."""

    def __init_subclass__(cls) -> None:
        """Let the subclass have fields of its own."""
        # Serializers look for this attribute in the namespace of the class itself.
        cls.__dataclass_fields__ = cast("Any", _Fields())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse every change.

        Raises:
            FrozenInstanceError: Always.
        """
        raise FrozenInstanceError(name)

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse every change.

        Raises:
            FrozenInstanceError: Always.
        """
        raise FrozenInstanceError(name)

    def __replace__(self, /, **changes: Any) -> Self:  # noqa: ANN401 - as for the constructor
        """Return a record with other values of some fields, for `copy.replace`."""
        return replace(self, **changes)

    def __eq__(self, other: object) -> bool:
        """Compare the type and every field."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Return a hash that agrees with `__eq__`."""
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """Return the call that makes an equal record."""
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


@cache
def _names_and_defaults(kind: type[Record]) -> tuple[tuple[str, ...], dict[str, Any]]:
    defaults = {field.name: field.default for field in fields(kind)}
    return (*defaults,), {name: each for name, each in defaults.items() if each is not MISSING}
