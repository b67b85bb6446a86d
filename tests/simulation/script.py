"""What happens in a simulation: who calls when, and what goes wrong; all of it from a seed."""

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
    "reset",  # the connection breaks before an answer
    "hang",  # no answer, ever
    "drip",  # an answer that takes for ever
    "truncate",  # half an answer
    "error",  # a 500
    "unavailable",  # a 503 of whatever stands before Okta
    "junk",  # a 200 with a page in HTML
    "redirect",  # to a page where one may log in
    "stale",  # a token that has expired on arrival
    "slow",  # true answers, seconds late
)
"""What may be wrong with a domain for some time."""


class Action(NamedTuple):
    """Something that happens to the provider."""

    at: float
    """When, in seconds of the event loop's time."""
    kind: str
    """What: a fault, or the name of a method of `World`."""
    target: int = 0
    """Which key, or which domain."""
    amount: float = 0.0
    """How much, how long, how many."""

    def __str__(self) -> str:
        """Return it as a line of a script."""
        return f"{self.at!r} {self.kind} {self.target} {self.amount!r}"

    @classmethod
    def parse(cls, line: str) -> Action:
        """Read a line of a script."""
        at, kind, target, amount = line.split()
        return cls(float(at), kind, int(target), float(amount))


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What a key is like, and who uses it."""

    number: int
    domain: int
    org_server: bool
    lifetime: int
    kept_fresh: bool
    awaits_its_secret: bool
    """Whether its secret comes from an async callable."""
    wakes_at: float
    """When on a day its callers begin, in seconds."""
    wakes_for: float
    """For how long, in seconds; some never sleep."""
    rests_at_weekends: bool
    interval: float
    """Seconds from one call to the next, on average."""

    @property
    def bound(self) -> bool:
        """Whether its tokens are bound to a key, so that each request needs a proof."""
        return self.number % 20 == 3


def draw(seed: int, *what: object) -> Random:
    """Return where chance comes from, for one thing and nothing else."""
    return Random(f"{seed} {what}")  # noqa: S311 - it decides about nobody's security


def plan_key(seed: int, number: int) -> KeyPlan:
    """Draw a key."""
    random = draw(seed, "key", number)
    lifetime = random.choice(LIFETIMES)
    return KeyPlan(
        number=number,
        domain=number // KEYS_OF_A_DOMAIN,
        org_server=random.random() < 0.2,
        lifetime=lifetime,
        kept_fresh=random.random() < 0.2,
        awaits_its_secret=random.random() < 0.3,
        wakes_at=random.uniform(0, DAY),
        wakes_for=random.choice((2, 8, 10, 24)) * 3600.0,
        rests_at_weekends=random.random() < 0.5,
        interval=max(20.0, lifetime / 12) * random.uniform(0.5, 2),
    )


def script(seed: int, keys: Iterable[int], days: float) -> Iterator[Action]:
    """Return everything that happens, in order.

    What happens to a key depends on the seed and the key alone, so that a failure can be looked at
    with fewer keys.

    Args:
        seed: From which all is drawn.
        keys: The numbers of the keys that there are.
        days: For how long.
    """
    plans = [plan_key(seed, number) for number in keys]
    domains = sorted({plan.domain for plan in plans})
    for day in range(math.ceil(days)):
        actions = [*_day_of_machine(draw(seed, "machine", day))]
        for domain in domains:
            actions += _day_of_domain(draw(seed, "domain", domain, day), domain)
        for plan in plans:
            actions += _day_of_callers(draw(seed, "callers", plan.number, day), plan, day)
            actions += _day_of_key(draw(seed, "app", plan.number, day), plan)
        for action in sorted(actions):
            at = action.at + day * DAY
            if at > days * DAY:
                return
            yield Action(at, action.kind, action.target, action.amount)


def _day_of_callers(random: Random, plan: KeyPlan, day: int) -> Iterator[Action]:
    if plan.rests_at_weekends and day % 7 in {5, 6}:
        return
    number = plan.number
    at, ends = plan.wakes_at, plan.wakes_at + plan.wakes_for
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
        elif chance < 0.06:  # ask again and again for a minute: also in a token's last seconds
            yield from (Action((at + 1.7 * n) % DAY, "get", number) for n in range(40))
        else:
            yield Action(at % DAY, "get", number)


def _day_of_key(random: Random, plan: KeyPlan) -> Iterator[Action]:
    number = plan.number
    for at in _now_and_then(random, per_day=0.05):
        yield Action(at, "lifetime", number, random.choice((60, *LIFETIMES)))
        yield Action(random.uniform(at, DAY), "lifetime", number, plan.lifetime)
    for at in _now_and_then(random, per_day=0.1):
        yield Action(at, "rotate", number, random.choice((0.0, 30.0, 300.0)))
    for at in _now_and_then(random, per_day=0.1):
        kind = random.choice(("vault_fails", "vault_hangs"))
        yield Action(at, kind, number, _some_time(random, 5, 1_800))
    for at in _now_and_then(random, per_day=0.05):
        yield Action(at, "disable", number, _some_time(random, 60, 7_200))
    for at in _now_and_then(random, per_day=0.02):  # one API rejects every token, all morning
        for n in range(300):
            yield Action(min(at + 10 * n, DAY), "get", number)
            yield Action(min(at + 10 * n + 5, DAY), "reject", number, 3)


def _day_of_domain(random: Random, domain: int) -> Iterator[Action]:
    for at in _now_and_then(random, per_day=4):
        yield Action(at, random.choice(FAULTS), domain, _some_time(random, 2, 10_000))
        if random.random() < 0.3:
            yield Action(min(at + 1, DAY), "everyone", domain)
    for at in _now_and_then(random, per_day=2):
        yield Action(at, "quota", domain, random.choice((1, 5, 20)))
        yield Action(min(at + _some_time(random, 60, 3_600), DAY), "quota", domain, 1_200)
    for at in _now_and_then(random, per_day=1):
        # Other clients of the org may leave none of its places.
        yield Action(at, "crowd", domain, random.choice((0, 1, 2, 4)))
        yield Action(min(at + _some_time(random, 60, 3_600), DAY), "crowd", domain, 75)
    for at in _now_and_then(random, per_day=0.5):
        yield Action(at, "skew", domain, random.uniform(-600, 600))


def _day_of_machine(random: Random) -> Iterator[Action]:
    for at in _now_and_then(random, per_day=0.5):
        yield Action(at, "sleep", 0, _some_time(random, 1, 40_000))
        yield from _perhaps_offline(random, at)
    for at in _now_and_then(random, per_day=2):
        error = random.choice((-1, 1)) * _some_time(random, 0.1, DAY)
        yield Action(at, "set_wall_clock", 0, error)
        yield from _perhaps_offline(random, at)
        yield Action(min(at + _some_time(random, 1, 7_200), DAY), "set_wall_clock", 0, 0.0)
    for at in _now_and_then(random, per_day=0.5):
        yield Action(at, "restart")


def _perhaps_offline(random: Random, at: float) -> Iterator[Action]:
    """Whatever confuses a machine's clocks may take its network, too."""
    if random.random() < 0.5:
        yield Action(at, "offline", 0, _some_time(random, 5, 7_200))


def _now_and_then(random: Random, *, per_day: float) -> Iterator[float]:
    at = 0.0
    while (at := at + random.expovariate(per_day / DAY)) < DAY:
        yield at


def _some_time(random: Random, least: float, most: float) -> float:
    """Draw a duration of which each order of magnitude is as likely as another."""
    return math.exp(random.uniform(math.log(least), math.log(most)))
