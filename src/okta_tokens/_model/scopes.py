"""Parse and format scopes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import cast

from okta_tokens._runtime.arguments import checked, looks_secret, text_of
from okta_tokens.errors import ConfigurationError

_FORBIDDEN = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")
# At most 20 names of at most 39 letters, digits and usual marks: they have no problem that
# `_problems` finds. To tell so at once costs a third, and a key that is not held waits for it.
_ORDINARY = re.compile(r"[\w.:/*-]{1,39}(?: [\w.:/*-]{1,39}){0,19}", re.ASCII)
_MAX_LENGTH = 16 * 1024  # characters of the `scope` parameter; Okta documents 1024
_MAX_ITEMS = 10_000  # scopes that are read, repetitions included
_MAX_TEXT = 1_000_000  # characters that are read
_MAX_SHOWN = 3  # forbidden characters that a message names

_WRONG_TYPE = "must be one string with the scopes separated by spaces, or an iterable of strings"
_TOO_LONG = f"more than {_MAX_LENGTH} characters together; request fewer scopes"
_LIST_AS_TEXT = (
    "the string is a list of another form; separate the scopes by spaces, or pass an iterable of "
    "strings (also if a comma belongs to the name of a scope)"
)


def parse_scopes(scopes: object) -> frozenset[str] | ConfigurationError:
    """Return the set of scopes that a caller requests, or the error that says what is wrong.

    The error is returned, not raised, and repeats no scope: callers do pass a token or a secret as
    a scope.

    Args:
        scopes: One string with the scopes separated by spaces, or an iterable of scopes. Order and
            repetition do not matter.

    Returns:
        The scopes. Or a `ConfigurationError` that lists every problem: a scope is not a string, is
        empty, contains a character that RFC 6749 section 3.3 does not allow, or looks like a
        secret; a string separates its scopes by commas or is only white space; or the scopes
        have more than 16 KiB together.
    """
    if type(scopes) is str and _ORDINARY.fullmatch(scopes):
        return frozenset(scopes.split())
    names = checked(lambda: _names(scopes), _WRONG_TYPE)
    problems = [names] if isinstance(names, str) else _problems(names)
    if isinstance(names, str) or problems:
        return ConfigurationError(f"scopes: {'; '.join(problems)}")
    return names


def format_scopes(scopes: Iterable[str]) -> str:
    """Return the `scope` parameter of a set of scopes, in alphabetical order."""
    return " ".join(sorted(scopes))


def _names(scopes: object) -> frozenset[str] | str:
    """Return the scopes in any spelling, or what is wrong with the spelling."""
    text = text_of(scopes)
    if text is not None:
        if len(text) > _MAX_TEXT:
            return _TOO_LONG
        if text and not text.strip():
            return "the string is only white space; pass no scopes for the server's default scopes"
        if "," in text or text.lstrip()[:1] in {"[", "(", "{"}:
            return _LIST_AS_TEXT
        words = text.split(None, _MAX_ITEMS)
        return frozenset(words) if len(words) <= _MAX_ITEMS else _TOO_LONG
    items = [*islice(cast("Iterable[object]", scopes), _MAX_ITEMS + 1)]
    if len(items) > _MAX_ITEMS:
        return _TOO_LONG
    texts = [text_of(item) for item in items]
    names = frozenset(text for text in texts if text is not None)
    return _WRONG_TYPE if None in texts else names


def _problems(names: frozenset[str]) -> list[str]:
    problems = []
    is_too_long = sum(map(len, names)) + len(names) - 1 > _MAX_LENGTH
    if is_too_long:
        names = frozenset(name[:_MAX_LENGTH] for name in islice(names, _MAX_LENGTH))
    if "" in names:
        problems.append("one of the scopes is empty; remove it")
    forbidden = sorted({*_FORBIDDEN.findall("".join(names))})
    if forbidden:
        shown = ", ".join(f"U+{ord(character):04X}" for character in forbidden[:_MAX_SHOWN])
        problems.append(
            f"a scope contains {shown}{' and others' if len(forbidden) > _MAX_SHOWN else ''}; use "
            "printable ASCII without space, double quote and backslash (RFC 6749)"
        )
    if any(map(looks_secret, names)):
        problems.append("a scope looks like a token or a secret; pass the names of scopes")
    if is_too_long:
        problems.append(_TOO_LONG)
    return problems
