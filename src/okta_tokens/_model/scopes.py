"""Parse and format scopes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from okta_tokens.errors import ConfigurationError

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
_MAX_LENGTH = 1024  # characters of the `scope` parameter; Okta's limit
_MAX_SHOWN = 3  # invalid scopes that a message names


def parse_scopes(scopes: str | Iterable[str]) -> frozenset[str]:
    """Return the set of scopes that a caller requests.

    Args:
        scopes: One string with the scopes separated by spaces, or an iterable of scopes. Order and
            repetition do not matter.

    Returns:
        The scopes.

    Raises:
        ConfigurationError: If a scope is not a string, is empty, or contains a character that
            RFC 6749 section 3.3 does not allow, or if the scopes have more than 1024 characters
            together. The message lists every problem and the first three invalid scopes.
    """
    try:
        names = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    except TypeError:  # not iterable, or the items are not hashable
        names = frozenset([None])  # type: ignore[list-item]  # reported below
    problems = _problems(names)
    if problems:
        message = f"scopes: {'; '.join(problems)}"
        raise ConfigurationError(message)
    return names


def format_scopes(scopes: Iterable[str]) -> str:
    """Return the `scope` parameter of a set of scopes, in alphabetical order."""
    return " ".join(sorted(scopes))


def _problems(names: frozenset[str]) -> list[str]:
    if not all(isinstance(name, str) for name in names):
        return ["must be one string with the scopes separated by spaces, or an iterable of strings"]
    invalid = [name for name in sorted(names) if not _SCOPE_TOKEN.fullmatch(name)]
    problems = [
        f"{name[:80]!r} is not a scope; use printable ASCII without space, double quote and "
        "backslash (RFC 6749)"
        for name in invalid[:_MAX_SHOWN]
    ]
    if len(invalid) > _MAX_SHOWN:
        problems.append(f"{len(invalid) - _MAX_SHOWN} more are invalid, too")
    if len(" ".join(names)) > _MAX_LENGTH:
        problems.append(f"more than {_MAX_LENGTH} characters together; request fewer scopes")
    return problems
