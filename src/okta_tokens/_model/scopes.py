"""Scopes: a set, however it is spelt."""

from __future__ import annotations

import re
from collections.abc import Iterable

from okta_tokens.errors import ConfigurationError

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
_LONGEST = 1024  # characters of the `scope` parameter; Okta's limit
_SHOWN = 3  # names of wrong scopes in a message


def parse_scopes(scopes: str | Iterable[str]) -> frozenset[str]:
    """Return the set that a caller means.

    Args:
        scopes: Separated by spaces in one string, or one by one in an iterable. Neither order nor
            repetition matters.

    Raises:
        ConfigurationError: If a scope is no string, is empty, or holds a character that RFC 6749
            does not allow, or if they have more than 1024 characters together. The message lists
            every problem, and the first three of the names that are none.
    """
    try:
        names = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    except TypeError:  # no iterable, or one of something that is no string
        names = frozenset([None])  # type: ignore[list-item]  # reported below
    problems = _problems(names)
    if problems:
        message = f"scopes: {'; '.join(problems)}"
        raise ConfigurationError(message)
    return names


def format_scopes(scopes: Iterable[str]) -> str:
    """Return the `scope` parameter of a set of scopes, in one fixed order."""
    return " ".join(sorted(scopes))


def _problems(names: frozenset[str]) -> list[str]:
    if not all(isinstance(name, str) for name in names):
        return ["must be a string, or strings, separated by spaces or in an iterable"]
    wrong = [name for name in sorted(names) if not _SCOPE_TOKEN.fullmatch(name)]
    problems = [
        f"{name[:80]!r} is no scope name (RFC 6749 allows printable ASCII without space, "
        "double quote and backslash)"
        for name in wrong[:_SHOWN]
    ]
    if len(wrong) > _SHOWN:
        problems.append(f"nor are {len(wrong) - _SHOWN} more")
    if len(" ".join(names)) > _LONGEST:
        problems.append(f"more than {_LONGEST} characters together")
    return problems
