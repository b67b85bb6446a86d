"""The size of the demo: how many callers, which tokens, how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size and the length of the demo. Times are in seconds, lifetimes in whole seconds.

    Args:
        callers: How many coroutines request the cold token.
        cold: The scopes of the cold token, and its lifetime.
        short: The scopes of the tokens that are renewed repeatedly, and their lifetimes.
        lifetimes: How many of the longest short lifetime the renewals are watched for.
        workers: How many coroutines keep using tokens, over all scopes.
        outage: The scopes of the token that outlives an outage, and its lifetime.
        latency: How long the sandbox takes to respond to the request for the cold token.
    """

    callers: int = 10_000
    cold: tuple[str, int] = ("reports:read", 3600)
    short: tuple[tuple[str, int], ...] = (("orders:read", 3), ("orders:write", 4))
    lifetimes: float = 3.2
    workers: int = 300
    outage: tuple[str, int] = ("payments:write", 8)
    latency: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """What the processes of a fleet do.

    Args:
        shared: The scopes of the token that all processes get at the same moment, and that one of
            them revokes.
        unavailable: The scopes of the token that outlives an outage in which Okta responds 503.
        unreachable: The scopes of the token that outlives an outage in which no response arrives.
        separate: The scopes of the token that all processes get without a store.
        lifetime: How long a token for `unavailable` or `unreachable` lives, in whole seconds.
        latency: How long the sandbox takes to respond to the first token request, in seconds.
        ratio: How many times the requests of one process alone the fleet may send in an outage.
        notice: The longest time, in milliseconds, in which a revocation may reach all processes.
    """

    shared: str = "orders:read"
    unavailable: str = "payments:read"
    unreachable: str = "payments:write"
    separate: str = "orders:write"
    lifetime: int = 8
    latency: float = 0.2
    ratio: int = 3
    notice: int = 2_000
