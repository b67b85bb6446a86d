"""Argument types: each converts a command-line word to a value, or says what to give instead.

No message repeats the word, which may be a secret in the wrong place.
"""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable

from okta_tokens.sandbox import Fault

_LAST_PORT = 65_535
_WHOLE = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")  # Python also reads 1_0, 1e3 and other digits

FAULTS: dict[str, Callable[[], Fault]] = {
    "html": Fault.html,
    "junk": Fault.junk,
    "empty": Fault.empty,
    "huge": Fault.huge,
    "drip": Fault.drip,
    "drop": Fault.drop,
    "truncate": Fault.truncate,
    "redirect": lambda: Fault.redirect("https://example.com/"),
    "rate-limit": Fault.rate_limited,
    "concurrency-limit": Fault.concurrency_limited,
}
"""The faults that have a name on the command line; a 5xx status is one, too."""


def seconds(text: str) -> float:
    """Parse a positive number of seconds.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise ArgumentTypeError("give a positive number of seconds")
    return number


def count(text: str) -> int:
    """Parse a whole number of at least 1.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    if not _WHOLE.fullmatch(text) or int(text) < 1:
        raise ArgumentTypeError("give a whole number of at least 1")
    return int(text)


def port(text: str) -> int:
    """Parse a port number; 0 means any free port.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    if not _WHOLE.fullmatch(text) or int(text) > _LAST_PORT:
        raise ArgumentTypeError(f"give a port number from 0 to {_LAST_PORT}")
    return int(text)


def delay(text: str) -> float | tuple[float, float]:
    """Parse a number of seconds, or the two ends of a range of seconds.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    low, dash, high = text.partition("-")
    ends = _number(low), _number(high if dash else low)
    if not 0 <= ends[0] <= ends[1] < math.inf:
        raise ArgumentTypeError("give a number of seconds (0.2) or a range (0.1-0.5)")
    return ends if dash else ends[0]


def window(text: str) -> tuple[float, float]:
    """Parse the start and the length of a period, both in seconds.

    Raises:
        ArgumentTypeError: If the text does not have the form START:SECONDS.
    """
    start, _, length = text.partition(":")
    if not (0 <= _number(start) < math.inf and 0 < _number(length) < math.inf):
        raise ArgumentTypeError("give START:SECONDS, for example 30:20")
    return float(start), float(length)


def lifetime(text: str) -> tuple[str, int]:
    """Parse scopes and the lifetime of their tokens, in seconds.

    Raises:
        ArgumentTypeError: If the text does not have the form NAMES=SECONDS.
    """
    scopes, _, number = text.rpartition("=")
    if not scopes.strip():
        raise ArgumentTypeError('give NAMES=SECONDS, for example "orders:read=5"')
    return scopes, count(number)


def fault(text: str) -> tuple[Fault, int | None]:
    """Parse a fault and how many requests it affects; None means every request.

    Raises:
        ArgumentTypeError: If no fault has this name.
    """
    name, colon, number = text.partition(":")
    times = count(number) if colon else None
    if name in FAULTS:
        return FAULTS[name](), times
    try:
        return Fault.status(int(name) if _WHOLE.fullmatch(name) else 0), times
    except ValueError:
        names = ", ".join(["a 5xx status", *FAULTS])
        raise ArgumentTypeError(f"give a fault, one of: {names}") from None


def _number(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else math.nan
