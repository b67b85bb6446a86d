"""The demo's three scenarios. Each returns the figures that decide whether it passes."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable

from okta_tokens import AccessToken, RefreshPolicy
from okta_tokens.cli.demo.figures import Figure, at_least, exactly
from okta_tokens.cli.demo.harness import Harness
from okta_tokens.cli.demo.probe import KeyProbe

Scenario = Callable[[Harness], Awaitable[list[Figure]]]


async def cold_start(harness: Harness) -> list[Figure]:
    """Let thousands of callers request the same token at once, while the cache is empty.

    Args:
        harness: The harness.
    """
    callers = harness.plan.callers
    (probe,) = harness.activate(harness.plan.cold[0])
    harness.sandbox.latency = harness.plan.latency
    harness.display.show_line(
        f"{callers:,} coroutines get a token for {probe.scopes}; the cache is empty"
    )
    tokens = await asyncio.gather(*(harness.get(probe) for _ in range(callers)))
    harness.sandbox.latency = 0.0
    values = Counter(token.value for token in tokens if token is not None)
    return [
        exactly(1, "token requests reached the sandbox", probe.requests),
        exactly(1, "tokens issued by the sandbox", probe.tokens),
        exactly(callers, "callers got the same token", max(values.values(), default=0)),
    ]


async def renewals(harness: Harness) -> list[Figure]:
    """Let callers use tokens for several of their lifetimes.

    Args:
        harness: The harness.
    """
    plan, sandbox = harness.plan, harness.sandbox
    probes = harness.activate(*(scopes for scopes, _ in plan.short))
    seconds = plan.lifetimes * max(probe.lifetime for probe in probes)
    await asyncio.gather(*(harness.get(probe) for probe in probes))
    sandbox.reset_counters()
    callers = _CallerFigures(probes)
    harness.display.show_line(
        f"{plan.workers} coroutines keep using the tokens for {seconds:.0f} s"
    )
    async with harness.workers(*probes):
        await asyncio.sleep(seconds)
    minimum = math.floor(plan.lifetimes)
    return [
        *(
            at_least(
                minimum, f"renewals of {probe.scopes}, {probe.lifetime} s each", probe.renewals
            )
            for probe in probes
        ),
        *_api_figures(harness),
        *callers.figures(),
    ]


async def outage(harness: Harness) -> list[Figure]:
    """Let the token endpoint fail after a token was fetched.

    The outage begins right after the fetch, and ends when the sandbox has refused a renewal. A
    renewal falls due during the outage in any case. The outage ends before the provider's last
    attempt in the token's life.

    Args:
        harness: The harness.
    """
    sandbox = harness.sandbox
    (probe,) = harness.activate(harness.plan.outage[0])
    token = await harness.get(probe)
    sandbox.reset_counters()
    callers = _CallerFigures([probe])
    if token is not None:
        async with harness.workers(probe):
            harness.display.show_line("from now on the token endpoint responds 503")
            with sandbox.outage():
                remaining = await _refused_renewal(probe, token)
            harness.display.show_line(
                f"the outage is over; the token for {probe.scopes} is valid for {remaining:.1f} s"
            )
            # After the old token's expiry, callers can only go on with the renewed one.
            await asyncio.sleep(remaining + 0.1 * probe.lifetime)
    return [
        at_least(1, "renewals refused during the outage", probe.refused),
        at_least(1, "renewals after the outage", probe.renewals),
        *_api_figures(harness),
        *callers.figures(),
    ]


SCENARIOS: dict[str, Scenario] = {
    "A cold start": cold_start,
    "Renewals in the background": renewals,
    "An outage that is shorter than the token's life": outage,
}


class _CallerFigures:
    """How callers fare from the construction on; an error counts even if it came before.

    Args:
        probes: The keys whose tokens the callers get.
    """

    def __init__(self, probes: list[KeyProbe]) -> None:
        self._probes = probes
        self._calls, self._waits = self._count()

    def _count(self) -> tuple[int, int]:
        return sum(probe.calls for probe in self._probes), sum(
            probe.waits for probe in self._probes
        )

    def figures(self) -> list[Figure]:
        """Return what was counted since the construction."""
        calls, waits = self._count()
        return [
            at_least(1, "calls of get_token", calls - self._calls),
            exactly(0, "calls of get_token waited", waits - self._waits),
            exactly(0, "callers got an error", sum(probe.errors for probe in self._probes)),
        ]


def _api_figures(harness: Harness) -> list[Figure]:
    sandbox = harness.sandbox
    return [
        at_least(1, "API calls checked by the sandbox", sandbox.resource_calls),
        exactly(0, "API calls with an expired token", sandbox.expired_tokens_seen),
        exactly(0, "API calls refused for any reason", sandbox.resource_refused),
    ]


async def _refused_renewal(probe: KeyProbe, token: AccessToken) -> float:
    """Wait until the sandbox has refused a renewal.

    Renewals fall due in the first half of the lead, and the last attempt is made a third of the
    lead before the token's leeway. An outage that ends between the two has refused a renewal, and
    leaves time for another one.

    Args:
        probe: The token's key.
        token: The token.

    Returns:
        The seconds that the token still lives.
    """
    policy = RefreshPolicy()
    lead = policy.lead(probe.lifetime)
    earliest, latest = 0.52 * lead, lead / 3 + policy.leeway(probe.lifetime)
    while True:
        remaining = token.remaining()
        if remaining < latest or (remaining < earliest and probe.refused):
            return remaining
        await asyncio.sleep(0.005)
