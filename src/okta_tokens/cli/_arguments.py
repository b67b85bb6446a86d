"""Types of arguments: each turns a word of the command line into a value, or says what is wrong."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from okta_tokens.sandbox import Fault

_LAST_PORT = 65_535

_FAULTS: dict[str, Callable[[], Fault]] = {
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


def seconds(text: str) -> float:
    """Return a positive number of seconds.

    Raises:
        ArgumentTypeError: If it is none.
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return number


def count(text: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        ArgumentTypeError: If it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def port(text: str) -> int:
    """Return the number of a port; 0 means any.

    Raises:
        ArgumentTypeError: If it is none.
    """
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def delay(text: str) -> float | tuple[float, float]:
    """Return seconds, or the two ends of a range of them.

    Raises:
        ArgumentTypeError: If it is neither.
    """
    low, dash, high = text.partition("-")
    ends = _number(low), _number(high if dash else low)
    if not 0 <= ends[0] <= ends[1] < math.inf:
        raise ArgumentTypeError(f"{text!r} is neither seconds, like 0.2, nor a range, like 0.1-0.5")
    return ends if dash else ends[0]


def window(text: str) -> tuple[float, float]:
    """Return when something begins, and how long it is, both in seconds.

    Raises:
        ArgumentTypeError: If it is not of the form START:SECONDS.
    """
    start, _, length = text.partition(":")
    if not (0 <= _number(start) < math.inf and 0 < _number(length) < math.inf):
        raise ArgumentTypeError(f"{text!r} is not START:SECONDS, like 30:20")
    return float(start), float(length)


def lifetime(text: str) -> tuple[str, int]:
    """Return scopes, and how long their tokens live, in seconds.

    Raises:
        ArgumentTypeError: If it is not of the form NAMES=SECONDS.
    """
    scopes, _, number = text.rpartition("=")
    if not scopes.strip():
        raise ArgumentTypeError(f'{text!r} is not NAMES=SECONDS, like "orders:read=5"')
    return scopes, count(number)


def fault(text: str) -> tuple[Fault, int | None]:
    """Return a fault, and how often it shall happen; None means every time.

    Raises:
        ArgumentTypeError: If there is none of this name.
    """
    name, colon, times = text.partition(":")
    often = count(times) if colon else None
    if name in _FAULTS:
        return _FAULTS[name](), often
    try:
        return Fault.status(int(name)), often
    except ValueError:
        names = ", ".join(["a 5xx status", *_FAULTS])
        raise ArgumentTypeError(f"{text!r} is no fault; there are {names}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
