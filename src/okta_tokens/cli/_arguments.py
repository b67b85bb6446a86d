"""Argument types: each converts a command-line word to a value, or says what to give instead.

No message repeats the word, which may be a secret in the wrong place.
"""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError

from okta_tokens.sandbox import Fault

_LAST_PORT = 65_535
_WHOLE = re.compile(r"[0-9]{1,9}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "": 1}
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")  # Python also reads 1_0, 1e3 and other digits


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
    try:
        return Fault.named(name), times
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def fault_name(text: str) -> str:
    """Check the name of a fault, or `none`.

    Raises:
        ArgumentTypeError: If no fault has this name.
    """
    if text != "none":
        fault(text.replace(":", " "))  # a number of requests is no part of this name
    return text


def duration(text: str) -> float:
    """Parse a duration: 30s, 2m, 1h, 500ms, or a number of seconds.

    Raises:
        ArgumentTypeError: If the text is anything else, or the duration is 0.
    """
    length = _duration(text)
    if not length > 0:
        raise ArgumentTypeError("give a duration, for example 30s, 2m, 1h or 500ms")
    return length


def whole_duration(text: str) -> int:
    """Parse a duration of at least one second, without a fraction of a second.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    length = duration(text)
    if length < 1 or length % 1:
        raise ArgumentTypeError("give a whole number of seconds, for example 60s")
    return int(length)


def changed_latency(text: str) -> float | tuple[float, float]:
    """Parse a duration or 0, or the two ends of a range of durations.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    low, dash, high = text.partition("-")
    ends = _duration(low), _duration(high if dash else low)
    if not ends[0] <= ends[1]:
        raise ArgumentTypeError("give a duration (2s), a range (100ms-500ms) or 0")
    return ends if dash else ends[0]


def offset(text: str) -> float:
    """Parse how far a clock is ahead (+5m) or behind (-5m), or 0.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    length = _duration(text[text[:1] in {"+", "-"} :])
    if math.isnan(length):
        raise ArgumentTypeError("give +5m if the clock is ahead, -5m if it is behind, or 0")
    return -length if text.startswith("-") else length


def _duration(text: str) -> float:
    """Return a duration in seconds; NaN, with which no comparison is true, if there is none."""
    matched = _DURATION.fullmatch(text)
    return float(matched[1]) * _UNITS[matched[2]] if matched is not None else math.nan


def _number(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else math.nan
