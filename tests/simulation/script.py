"""The script of a simulation: calls and faults, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

DAY = 86_400.0
KEYS_OF_A_DOMAIN = 125

LIFETIMES = (300, 600, 1_800, 3_600, 3_600, 3_600, 7_200, 14_400, 28_800, 86_400)

FAULTS = (
    "refuse",  # no connection
    "reset",  # the connection breaks before a response
    "hang",  # no response
    "drip",  # a response that takes longer than the request time-out
    "truncate",  # half a response
    "error",  # a 500
    "unavailable",  # a 503 of a gateway
    "junk",  # a 200 with an HTML page
    "redirect",  # to a login page
    "stale",  # a token that has expired when it arrives
    "slow",  # a valid response, seconds late
)
"""The faults that a domain may have for some time."""


class Action(NamedTuple):
    """A step of a script."""

    at: float
    """When, in seconds of the event loop's time."""
    kind: str
    """A fault, or the name of a method of `World`."""
    target: int = 0
    """The number of a key or of a domain."""
    amount: float = 0.0
    """A duration in seconds, or another number that the kind needs."""

    def __str__(self) -> str:
        """Return it as a line of a script."""
        return f"{self.at!r} {self.kind} {self.target} {self.amount!r}"

    @classmethod
    def parse(cls, line: str) -> Action:
        """Parse a line of a script."""
        at, kind, target, amount = line.split()
        return cls(float(at), kind, int(target), float(amount))


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """The properties of a key and of its callers."""

    number: int
    domain: int
    org_server: bool
    lifetime: int
    kept_fresh: bool
    async_secret: bool
    """Whether its secret comes from an async callable."""
    active_from: float
    """When its callers begin, in seconds of the day."""
    active_for: float
    """How long its callers are active each day, in seconds."""
    idle_at_weekends: bool
    interval: float
    """Seconds between two calls, on average."""

    @property
    def dpop(self) -> bool:
        """Whether its tokens are bound to a DPoP key, so that each request needs a proof."""
        return self.number % 20 == 3


def draw(seed: int, *what: object) -> Random:
    """Return a random generator for one purpose, independent of all others."""
    return Random(f"{seed} {what}")  # noqa: S311 - no cryptography


def plan_key(seed: int, number: int) -> KeyPlan:
    """Draw the properties of a key."""
    random = draw(seed, "key", number)
    lifetime = random.choice(LIFETIMES)
    return KeyPlan(
        number=number,
        domain=number // KEYS_OF_A_DOMAIN,
        org_server=random.random() < 0.2,
        lifetime=lifetime,
        kept_fresh=random.random() < 0.2,
        async_secret=random.random() < 0.3,
        active_from=random.uniform(0, DAY),
        active_for=random.choice((2, 8, 10, 24)) * 3600.0,
        idle_at_weekends=random.random() < 0.5,
        interval=max(20.0, lifetime / 12) * random.uniform(0.5, 2),
    )


def script(seed: int, keys: Iterable[int], days: float) -> Iterator[Action]:
    """Yield every action in order.

    The actions of a key depend only on the seed and the key, so that a failure can be reproduced
    with fewer keys.

    Args:
        seed: The seed of everything.
        keys: The numbers of the keys.
        days: The length of the script.
    """
    plans = [plan_key(seed, number) for number in keys]
    domains = sorted({plan.domain for plan in plans})
    for day in range(math.ceil(days)):
        actions = [*_machine_actions(draw(seed, "machine", day))]
        for domain in domains:
            actions += _domain_actions(draw(seed, "domain", domain, day), domain)
        for plan in plans:
            actions += _caller_actions(draw(seed, "callers", plan.number, day), plan, day)
            actions += _key_actions(draw(seed, "app", plan.number, day), plan)
        for action in sorted(actions):
            at = action.at + day * DAY
            if at > days * DAY:
                return
            yield Action(at, action.kind, action.target, action.amount)


def _caller_actions(random: Random, plan: KeyPlan, day: int) -> Iterator[Action]:
    if plan.idle_at_weekends and day % 7 in {5, 6}:
        return
    number = plan.number
    at, ends = plan.active_from, plan.active_from + plan.active_for
    while (at := at + random.expovariate(1 / plan.interval)) < ends:
        chance = random.random()
        if chance < 0.03:
            yield Action(at % DAY, "get", number, random.uniform(0, 3))
        elif chance < 0.04:
            yield Action(at % DAY, "rush", number, random.randint(2, 30))
        elif chance < 0.045:
            yield Action(at % DAY, "reject", number, random.randint(1, 5))
        elif chance < 0.05:
            yield Action(at % DAY, "reject_late", number)
        elif chance < 0.06:  # many calls in a minute, some in a token's last seconds
            yield from (Action((at + 1.7 * n) % DAY, "get", number) for n in range(40))
        else:
            yield Action(at % DAY, "get", number)


def _key_actions(random: Random, plan: KeyPlan) -> Iterator[Action]:
    number = plan.number
    for at in _random_times(random, per_day=0.05):
        yield Action(at, "lifetime", number, random.choice((60, *LIFETIMES)))
        yield Action(random.uniform(at, DAY), "lifetime", number, plan.lifetime)
    for at in _random_times(random, per_day=0.1):
        yield Action(at, "rotate", number, random.choice((0.0, 30.0, 300.0)))
    for at in _random_times(random, per_day=0.1):
        kind = random.choice(("vault_fails", "vault_hangs"))
        yield Action(at, kind, number, _log_uniform(random, 5, 1_800))
    for at in _random_times(random, per_day=0.05):
        yield Action(at, "disable", number, _log_uniform(random, 60, 7_200))
    for at in _random_times(random, per_day=0.02):  # an API rejects every token for 50 minutes
        for n in range(300):
            yield Action(min(at + 10 * n, DAY), "get", number)
            yield Action(min(at + 10 * n + 5, DAY), "reject", number, 3)


def _domain_actions(random: Random, domain: int) -> Iterator[Action]:
    for at in _random_times(random, per_day=4):
        yield Action(at, random.choice(FAULTS), domain, _log_uniform(random, 2, 10_000))
        if random.random() < 0.3:
            yield Action(min(at + 1, DAY), "everyone", domain)
    for at in _random_times(random, per_day=2):
        yield Action(at, "quota", domain, random.choice((1, 5, 20)))
        yield Action(min(at + _log_uniform(random, 60, 3_600), DAY), "quota", domain, 1_200)
    for at in _random_times(random, per_day=1):
        # Other clients may use all of the org's concurrent requests.
        yield Action(at, "crowd", domain, random.choice((0, 1, 2, 4)))
        yield Action(min(at + _log_uniform(random, 60, 3_600), DAY), "crowd", domain, 75)
    for at in _random_times(random, per_day=0.5):
        yield Action(at, "skew", domain, random.uniform(-600, 600))


def _machine_actions(random: Random) -> Iterator[Action]:
    for at in _random_times(random, per_day=0.5):
        yield Action(at, "sleep", 0, _log_uniform(random, 1, 40_000))
        yield from _maybe_offline(random, at)
    for at in _random_times(random, per_day=2):
        error = random.choice((-1, 1)) * _log_uniform(random, 0.1, DAY)
        yield Action(at, "set_wall_clock", 0, error)
        yield from _maybe_offline(random, at)
        yield Action(min(at + _log_uniform(random, 1, 7_200), DAY), "set_wall_clock", 0, 0.0)
    for at in _random_times(random, per_day=0.5):
        yield Action(at, "restart")


def _maybe_offline(random: Random, at: float) -> Iterator[Action]:
    """Yield an outage of the network in half of the cases in which the clocks change."""
    if random.random() < 0.5:
        yield Action(at, "offline", 0, _log_uniform(random, 5, 7_200))


def _random_times(random: Random, *, per_day: float) -> Iterator[float]:
    at = 0.0
    while (at := at + random.expovariate(per_day / DAY)) < DAY:
        yield at


def _log_uniform(random: Random, least: float, most: float) -> float:
    """Draw a duration whose logarithm is uniformly distributed."""
    return math.exp(random.uniform(math.log(least), math.log(most)))
