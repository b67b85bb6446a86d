"""The demo's three acts; each returns the figures that it is judged by."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable

from okta_tokens import AccessToken, RefreshPolicy
from okta_tokens.cli._figures import Figure, at_least, exactly
from okta_tokens.cli._scene import Row
from okta_tokens.cli._stage import Stage

Act = Callable[[Stage], Awaitable[list[Figure]]]


async def cold_start(stage: Stage) -> list[Figure]:
    """Let thousands of callers ask at once for a token that nobody holds."""
    callers = stage.plan.callers
    (row,) = stage.rows(stage.plan.cold[0])
    stage.sandbox.latency = stage.plan.latency
    stage.display.say(f"{callers:,} coroutines ask for {row.scopes}, and nobody holds a token")
    tokens = await asyncio.gather(*(stage.get(row) for _ in range(callers)))
    stage.sandbox.latency = 0.0
    values = Counter(token.value for token in tokens if token is not None)
    return [
        exactly(1, "token requests reached the sandbox", row.requests),
        exactly(1, "tokens issued by the sandbox", row.tokens),
        exactly(callers, "callers got the same token", max(values.values(), default=0)),
    ]


async def renewals(stage: Stage) -> list[Figure]:
    """Let callers go on for several lifetimes of their tokens."""
    plan, sandbox = stage.plan, stage.sandbox
    rows = stage.rows(*(scopes for scopes, _ in plan.short))
    seconds = plan.lifetimes * max(row.lifetime for row in rows)
    await asyncio.gather(*(stage.get(row) for row in rows))
    sandbox.reset_counters()
    before = _Callers(rows)
    stage.display.say(f"{plan.askers} coroutines keep asking, for {seconds:.0f} s")
    async with stage.asking(*rows):
        await asyncio.sleep(seconds)
    least = math.floor(plan.lifetimes)
    return [
        *(
            at_least(least, f"renewals of {row.scopes}, {row.lifetime} s each", row.renewals)
            for row in rows
        ),
        *_seen_by_the_resource(stage),
        *before.figures(),
    ]


async def outage(stage: Stage) -> list[Figure]:
    """Let the token endpoint fail from the moment that a token was fetched.

    The outage is over when it has refused a renewal, which it does in any case since it lasts until
    the renewal falls due; and before the last try that the provider makes in the token's life.
    """
    sandbox = stage.sandbox
    (row,) = stage.rows(stage.plan.outage[0])
    token = await stage.get(row)
    sandbox.reset_counters()
    before = _Callers([row])
    if token is not None:
        async with stage.asking(row):
            stage.display.say("the token endpoint answers 503 from now on")
            with sandbox.outage():
                left = await _noticed(row, token)
            stage.display.say(f"the outage is over; {row.scopes} had {left:.1f} s left")
            # The renewed token is what callers go on with when the old one is past its end.
            await asyncio.sleep(left + 0.1 * row.lifetime)
    return [
        at_least(1, "renewals refused by the sandbox in its outage", row.refused),
        at_least(1, "renewals after it", row.renewals),
        *_seen_by_the_resource(stage),
        *before.figures(),
    ]


ACTS: dict[str, Act] = {
    "A cold start": cold_start,
    "Renewals in the background": renewals,
    "An outage, shorter than the token's life": outage,
}


class _Callers:
    """How callers fare from now on; an error counts also if it came before."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._gets, self._waited = self._count()

    def _count(self) -> tuple[int, int]:
        return sum(row.gets for row in self._rows), sum(row.waited for row in self._rows)

    def figures(self) -> list[Figure]:
        """Return what happened since."""
        gets, waited = self._count()
        return [
            at_least(1, "calls of get_token", gets - self._gets),
            exactly(0, "of them waited for it", waited - self._waited),
            exactly(0, "callers got an error", sum(row.errors for row in self._rows)),
        ]


def _seen_by_the_resource(stage: Stage) -> list[Figure]:
    sandbox = stage.sandbox
    return [
        at_least(1, "API calls checked by the sandbox", sandbox.resource_calls),
        exactly(0, "of them with an expired token", sandbox.expired_tokens_seen),
        exactly(0, "of them refused for any reason", sandbox.resource_refused),
    ]


async def _noticed(row: Row, token: AccessToken) -> float:
    """Wait until a renewal was refused; return how much of its life the token has left.

    Renewals fall due in the first half of the lead, and the last try comes a third of the lead
    before the token's leeway: an outage that ends between the two was noticed, and ends in time.
    """
    policy = RefreshPolicy()
    lead = policy.lead(row.lifetime)
    early, late = 0.52 * lead, lead / 3 + policy.leeway(row.lifetime)
    while True:
        left = token.remaining()
        if left < late or (left < early and row.refused):
            return left
        await asyncio.sleep(0.005)
