"""What the arguments of a provider must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._runtime.arguments import checked, looks_secret, number_of, text_of
from okta_tokens._sharing.store_protocol import TokenStore

_USER_AGENT = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")


def _is_user_agent(value: object) -> bool:
    text = text_of(value)
    return text is not None and bool(_USER_AGENT.fullmatch(text)) and not looks_secret(text)


_CLOCK = ("boot_time", "wall_time", "sleep_until")
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "refresh": (lambda value: isinstance(value, RefreshPolicy), "a RefreshPolicy"),
    "retry": (lambda value: isinstance(value, RetryPolicy), "a RetryPolicy"),
    # Not by type: tests of applications pass stand-ins.
    "session": (lambda value: callable(value.post), "an aiohttp.ClientSession"),
    "user_agent": (
        _is_user_agent,
        "a name and a version like orders/1.2: printable ASCII, 256 characters at most, no secret",
    ),
    "observers": (lambda value: all(map(callable, value)), "callables that take an event"),
    "store": (
        lambda value: isinstance(value, TokenStore),
        "a TokenStore, such as RedisTokenStore(url, keys=…)",
    ),
    "clock": (
        lambda value: all(callable(getattr(value, name)) for name in _CLOCK),
        "a Clock, such as SystemClock()",
    ),
}
"""For each argument that is not a number, unless it is `None`: the check, and what it must be."""


def argument_problems(numbers: Mapping[str, object], others: Mapping[str, object]) -> list[str]:
    """Return what is wrong with the arguments of a provider, without their values.

    Args:
        numbers: The numbers, by name.
        others: The other arguments, by name.
    """
    problems = [
        f"{name} must be a whole number of at least 1"
        for name, value in numbers.items()
        if not isinstance(number := number_of(value), int) or number < 1
    ]
    for name, value in others.items():
        check, kind = _KINDS[name]
        if value is not None and not checked(partial(check, value), problem=False):
            problems.append(f"{name} must be {kind}")
    return problems
