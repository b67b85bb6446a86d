"""What the control endpoint says about a running sandbox, and which commands it obeys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._state import SandboxState

_YEAR: Final = 366 * 86_400.0
_MOST_REQUESTS: Final = 10_000


class CommandError(ValueError):
    """A command that the sandbox does not obey. The message names the member at fault."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did.

    Args:
        message: A sentence, without a secret.
        answer: Further members of the response. They may hold the new secret.
    """

    message: str
    answer: Mapping[str, object] = field(repr=False)


def report(state: SandboxState) -> dict[str, object]:
    """Return the counters, the faults under way and the settings, as JSON-serializable values.

    The report contains no secret and no token.
    """
    latency, latency_ends_in = state._current_latency()
    return {
        "counters": state.counts(),
        "faults": [*_faults(state)],
        "settings": {
            "clients": [*state.clients],
            "lifetime": state.lifetime,
            "latency": latency,
            "latency_ends_in": latency_ends_in,
            "date_offset": state.date_offset,
            "rate_limit": state.rate_limit,
            "concurrency_limit": state.concurrency_limit,
        },
    }


def _faults(state: SandboxState) -> Iterator[dict[str, object]]:
    """Yield each fault with the requests that get it, or with its end; ``None`` is no limit."""
    for name, requests in Counter(fault.name for fault in state.faults.queue).items():
        yield {"fault": name, "requests": requests, "ends_in": None}
    for fault, ends_in in state.faults.under_way(state.wall_time(), state.started_at):
        yield {"fault": fault.name, "requests": None, "ends_in": ends_in}


def apply(state: SandboxState, name: str, body: bytes) -> Result | None:
    """Obey a command.

    Args:
        state: The sandbox to steer.
        name: The name of the command.
        body: A JSON object with the command's members.

    Returns:
        What the command did; ``None`` if there is no such command.

    Raises:
        CommandError: The body is not a JSON object; a member is missing, unknown or invalid. The
            state has not changed then.
    """
    command = _COMMANDS.get(name)
    if command is None:
        return None
    members = _parse(body)
    _check(command, members)
    result = command.obey(state, **members)
    return result if isinstance(result, Result) else Result(result, {})


def _parse(body: bytes) -> dict[str, object]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise CommandError("The body is not a JSON object. Send a JSON object.")
    return members


def _check(command: _Command, members: Mapping[str, object]) -> None:
    known = {**command.required, **command.optional}
    for name in members:
        if name not in known:
            allowed = ", ".join(known) or "no member"
            raise CommandError(f"{name[:40]!r} is an unknown member. Use {allowed}.")
    for name, (is_valid, description) in known.items():
        if name not in members and name in command.required:
            raise CommandError(f"{name} is missing. Give {description}.")
        if name in members and not is_valid(members[name]):
            raise CommandError(f"{name} is invalid. Give {description}.")


# The commands


def _set_fault(
    state: SandboxState, *, name: str, seconds: float | None = None, requests: int | None = None
) -> str:
    """Set a fault.

    Four cases:
    - The name is ``none``: every fault ends.
    - For a number of requests: the fault is queued.
    - For a time: the fault replaces the timed and the lasting one.
    - Otherwise: the fault lasts, and replaces the timed and the lasting one.
    """
    if seconds is not None and requests is not None:
        raise CommandError("seconds and requests are both given. Give one of them.")
    if name == "none":
        if seconds is not None or requests is not None:
            raise CommandError("name is none, which ends at once. Give only the name.")
        state.clear_faults()
        return "Token requests get no fault from now on."
    try:
        fault = Fault.named(name)
    except ValueError as error:
        raise CommandError(f"name is invalid: {error}, or none.") from None
    if requests is not None:
        state.fail_next(*[fault] * requests)
        return f"The fault {fault.name!r} comes next, for {_counted(requests, 'token request')}."
    state.fault = fault if seconds is None else None
    state.fail_for(seconds or 0.0, fault)
    return f"Every token request gets the fault {fault.name!r} {_until(state, seconds)}."


def _set_latency(
    state: SandboxState, *, latency: float | list[float], seconds: float | None = None
) -> str:
    value = (latency[0], latency[1]) if isinstance(latency, list) else latency
    if seconds is None:
        state.latency = value
    state.slow_for(seconds or 0.0, value)
    shown = f"{value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"{value:g}"
    return f"Every token response takes {shown} s {_until(state, seconds)}."


def _set_lifetime(state: SandboxState, *, seconds: int) -> str:
    state.lifetime = seconds
    return f"New tokens of custom authorization servers live {seconds} s."


def _set_clock(state: SandboxState, *, offset: float) -> str:
    state.date_offset = offset
    return f"The clock of the sandbox is {abs(offset):g} s {'behind' if offset < 0 else 'ahead'}."


def _revoke(state: SandboxState) -> str:
    return f"Revoked {_counted(state.revoke_all(), 'token')}."


def _rotate_secret(
    state: SandboxState,
    *,
    client_id: str | None = None,
    keep_old: bool = False,
    secret: str | None = None,
) -> Result:
    try:
        new = state.rotate_secret(client_id, keep_old=keep_old, secret=secret)
    except KeyError:
        raise CommandError("client_id names no client. Give the id of a client.") from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    if client_id is None:
        (client_id,) = state.clients  # otherwise the rotation had failed
    also = "the newest of the old secrets stays active" if keep_old else "no old one is active"
    return Result(
        f"The client {client_id} has a new secret, and {also}.",
        {"client_id": client_id, "secret": new},
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _until(state: SandboxState, seconds: float | None) -> str:
    if seconds is None:
        return "from now on"
    end = datetime.fromtimestamp(state.wall_time() + seconds).astimezone()
    return f"for {seconds:g} s, until {end:%H:%M:%S}"


# The types of their members


def _is_number(value: object, low: float, high: float) -> bool:
    """Return whether a value is a number from `low` to `high`; ``True`` and NaN are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return low <= value <= high


def _is_latency(value: object) -> bool:
    ends: list[Any] = value if isinstance(value, list) else [value, value]
    return (
        len(ends) == 2  # noqa: PLR2004 — the two ends of a range
        and all(_is_number(end, 0, _YEAR) for end in ends)
        and ends[0] <= ends[1]
    )


_Check: TypeAlias = tuple[Callable[[object], bool], str]

_TEXT: _Check = (lambda value: isinstance(value, str), "a string")
_YES_OR_NO: _Check = (lambda value: isinstance(value, bool), "true or false")
_LATENCY: _Check = (_is_latency, "seconds from 0 to a year, or a list of two: the ends of a range")
_SECONDS: _Check = (
    lambda value: _is_number(value, 0.001, _YEAR),
    "a number of seconds from 0.001 to a year",
)
_WHOLE_SECONDS: _Check = (
    lambda value: type(value) is int and 1 <= value <= _YEAR,
    "a whole number of seconds from 1 to a year",
)
_OFFSET: _Check = (
    lambda value: _is_number(value, -_YEAR, _YEAR),
    "a number of seconds of at most a year; less than 0 is behind",
)
_REQUESTS: _Check = (
    lambda value: type(value) is int and 1 <= value <= _MOST_REQUESTS,
    f"a whole number from 1 to {_MOST_REQUESTS}",
)


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: the function that obeys it, and what its members must be."""

    obey: Callable[..., str | Result]
    required: Mapping[str, _Check] = field(default_factory=dict)
    optional: Mapping[str, _Check] = field(default_factory=dict)


_COMMANDS: Final[Mapping[str, _Command]] = {
    "fault": _Command(_set_fault, {"name": _TEXT}, {"seconds": _SECONDS, "requests": _REQUESTS}),
    "latency": _Command(_set_latency, {"latency": _LATENCY}, {"seconds": _SECONDS}),
    "lifetime": _Command(_set_lifetime, {"seconds": _WHOLE_SECONDS}),
    "clock": _Command(_set_clock, {"offset": _OFFSET}),
    "revoke": _Command(_revoke),
    "secret": _Command(
        _rotate_secret,
        optional={"client_id": _TEXT, "keep_old": _YES_OR_NO, "secret": _TEXT},
    ),
}
"""The commands by name."""
