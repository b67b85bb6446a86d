"""Additional fields of a token request, such as `resource` (RFC 8707)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import cast

from okta_tokens._auth.authentication import Fields
from okta_tokens._runtime.arguments import checked, text_of
from okta_tokens._runtime.immutable import Immutable

_OWN = {
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
}
"""The fields that the package itself sends."""
_MAX_FIELDS = 64
_MAX_LENGTH = 8 * 1024  # characters of all names and values

_WRONG_TYPE = "must be a mapping from names to strings or tuples of strings"
_set = object.__setattr__  # the class refuses changes


class Parameters(Immutable):
    """Names and values that every token request of a client sends, in a copy that never changes.

    The repr and a pickle contain only the names.

    Args:
        fields: Each name with its values.
    """

    __slots__ = ("fields",)

    fields: Fields
    """Each name with its values, in alphabetical order."""

    def __init__(self, fields: Fields) -> None:
        _set(self, "fields", fields)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in alphabetical order."""
        return tuple(name for name, _ in self.fields)

    def __eq__(self, other: object) -> bool:
        """Compare names and values."""
        return isinstance(other, Parameters) and self.fields == other.fields

    def __hash__(self) -> int:
        """Return a hash that is the same for equal parameters."""
        return hash(self.fields)

    def __repr__(self) -> str:
        """Return the names."""
        return f"<{', '.join(self.names)}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the names without the values."""
        return Parameters, (tuple((name, ()) for name in self.names),)


def parse_parameters(parameters: object) -> tuple[Parameters | None, list[str]]:
    """Return the parameters of a client, and what is wrong with them.

    Args:
        parameters: What the user gave; `None` for none.

    Returns:
        The parameters, `None` if there are none, and the problems as the ends of sentences that
        begin with the setting's name. The problems repeat no value.
    """
    if parameters is None:
        return None, []
    fields = checked(lambda: _fields(cast("Mapping[object, object]", parameters)), None)
    if fields is None:
        return None, [_WRONG_TYPE]
    problems = _problems(fields)
    return (None, problems) if problems or not fields else (Parameters(tuple(fields)), [])


def _fields(
    parameters: Mapping[object, object],
) -> list[tuple[str, tuple[str, ...]]] | None:
    """Return each name with its values in alphabetical order; `None` if one is no string."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for key in islice(parameters, _MAX_FIELDS + 1):
        name, value = text_of(key), parameters[key]
        items = islice(value, _MAX_FIELDS + 1) if isinstance(value, tuple) else [value]
        texts = tuple(text_of(item) for item in items)
        if name is None or None in texts:
            return None
        found.append((name, cast("tuple[str, ...]", texts)))
    return sorted(found)


def _problems(fields: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    problems = []
    own = [name for name, _ in fields if name in _OWN]
    if own:
        problems.append(f"{' and '.join(own)}: set by this package; remove it")
    if any(not name.isascii() or not name.isprintable() or not name.strip() for name, _ in fields):
        problems.append("a name is empty or not printable ASCII; correct it")
    if any(not values for _, values in fields):
        problems.append("a tuple is empty; remove the name, or give a value")
    counts = [len(fields), *(len(values) for _, values in fields)]
    length = sum(len(text) for name, values in fields for text in (name, *values))
    if max(counts, default=0) > _MAX_FIELDS or length > _MAX_LENGTH:
        problems.append(
            f"more than {_MAX_FIELDS} fields, or more than {_MAX_LENGTH // 1024} KiB together; "
            "send fewer"
        )
    return problems
