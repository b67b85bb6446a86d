"""Check arguments of any type without running their code, and recognize secrets among them.

A subclass of a built-in type may override every method, and an error that such a method raises
would pass frames with secrets in their locals.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from okta_tokens.errors import ConfigurationError

P = TypeVar("P")
T = TypeVar("T")

_MIN_RUN = 40  # characters
_RUN = re.compile(r"[A-Za-z0-9_-]+")
"""Okta's client secrets have 40 or 64 of these characters, and the parts of a JWT have more."""
_MIXTURE = (re.compile(r"[A-Z]"), re.compile(r"[a-z]"), re.compile(r"[0-9]"))


def text_of(value: object) -> str | None:
    """Return exactly the text of a string, or `None` for any other value.

    Args:
        value: What the user gave.
    """
    return str.__str__(value) if issubclass(type(value), str) else None


def number_of(value: object) -> int | float | None:
    """Return exactly a finite number, or `None` for any other value, `True` and `False` included.

    Args:
        value: What the user gave.
    """
    kind = type(value)
    number: int | float
    if issubclass(kind, bool):
        return None
    if issubclass(kind, int):
        number = int.__int__(value)  # type: ignore[arg-type]
    elif issubclass(kind, float):
        number = float.__float__(value)  # type: ignore[arg-type]
    else:
        return None
    return number if abs(number) <= sys.float_info.max else None


def checked(check: Callable[[], T], problem: P) -> T | P:
    """Return the result of a check, or a problem if the code of an argument raises.

    The error is dropped, because its frames have the argument in their locals.

    Args:
        check: Checks arguments.
        problem: The result if the check raises.
    """
    try:
        return check()
    except Exception:  # noqa: BLE001 - the code of an argument may raise anything
        return problem


def looks_secret(text: str, length: int = _MIN_RUN) -> bool:
    """Tell whether a text that should be a name contains what looks like a secret or a token.

    That is a long run of letters, digits, `_` and `-` that mixes upper case, lower case and digits.

    Args:
        text: A client id, a scope or another name.
        length: How many characters a long run has at least.
    """
    if len(text) < length:
        return False
    runs = (run for run in _RUN.findall(text) if len(run) >= length)
    return any(all(kind.search(run) for kind in _MIXTURE) for run in runs)


def configuration_error(source: str, problems: list[str]) -> ConfigurationError:
    """Return one error that lists every problem.

    Args:
        source: Where the settings come from.
        problems: What is wrong, each with the name of its setting.
    """
    return ConfigurationError(f"{source}: {'; '.join(problems)}")


def raise_problems(source: str, problems: list[str]) -> NoReturn:
    """Raise one error that lists every problem.

    Args:
        source: Where the settings come from.
        problems: What is wrong, each with the name of its setting.

    Raises:
        ConfigurationError: Always.
    """
    raise configuration_error(source, problems)
