"""The outages of Okta: what they cost a fleet, and what they cost one process alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from okta_tokens.cli.demo.figures import Figure, at_least, at_most, exactly
from okta_tokens.cli.demo.fleet_harness import Fleet, count_tokens, token_requests
from okta_tokens.sandbox import Fault, Sandbox

_OUTAGE = 0.76
"""The share of a token's life for which an outage lasts: from 0.75 on the renewal of such a
short-lived token is due in any case, and from 0.78 on the provider makes its last attempt."""
_FAILURES = 2
"""An outage lasts until the process that works alone has failed so many times."""
_PATIENCE = 20.0
"""Seconds for which an outage is prolonged at most."""
_INTERVAL = 0.01
"""Seconds between two looks at the counters of a sandbox."""
_OK = 200


async def unavailable(fleet: Fleet) -> list[Figure]:
    """Let Okta respond 503 while the processes use a token.

    Args:
        fleet: The fleet.
    """
    return await _outage(fleet, Fault.status(503), fleet.plan.unavailable, "responds 503")


async def unreachable(fleet: Fleet) -> list[Figure]:
    """Let no response of Okta arrive while the processes use a token.

    Args:
        fleet: The fleet.
    """
    return await _outage(fleet, Fault.drop(), fleet.plan.unreachable, "closes each connection")


async def _outage(fleet: Fleet, fault: Fault, scopes: str, what: str) -> list[Figure]:
    """Let Okta fail after all processes got a token, until just before their last attempts.

    The renewal of one process falls due at a random moment, so the process may meet only the end of
    the outage. Therefore the failures of each side are counted from its first one on, and for the
    same time: from the first to the last failure of the process that works alone.
    """
    everyone, count = [*fleet.processes, fleet.one], len(fleet.processes)
    fleet.display.show_line(f"all processes use a token of {fleet.plan.lifetime} s for {scopes}")
    held = await asyncio.gather(*(process.run("get", scopes=scopes) for process in everyone))
    for okta in (fleet.okta, fleet.okta_of_one):
        okta.reset_counters()
    fleet.display.show_line(f"from now on Okta {what}")
    using = asyncio.gather(
        *(
            process.run("use", scopes=scopes, old=report.token)
            for process, report in zip(everyone, held, strict=True)
        )
    )
    with fleet.okta.outage(fault), fleet.okta_of_one.outage(fault):
        await _late_end(fleet, scopes)
    fleet.display.show_line("the outage is over")
    *reports, _ = await using
    failures, failures_of_one = _failures(fleet.okta, scopes), _failures(fleet.okta_of_one, scopes)
    renewals = len(token_requests(fleet.okta, scopes)) - len(failures)
    most = fleet.plan.ratio * len(failures_of_one)
    in_that_time = count_for(failures, failures_of_one)
    return [
        at_least(_FAILURES, "token requests by one process alone", len(failures_of_one)),
        at_most(most, "token requests by the fleet in that time", in_that_time),
        at_least(count, "calls of get_token", sum(report.calls for report in reports)),
        exactly(0, "callers got an error", sum(report.errors for report in reports)),
        exactly(count, "processes use the next token", count_tokens(reports)),
        at_most(2, "token requests after the outage", renewals),
    ]


def count_for(moments: Sequence[float], others: Sequence[float]) -> int:
    """Return how many moments there are in as much time as there is between the others.

    Args:
        moments: The moments; the time begins with the first of them.
        others: The moments of which the first and the last say how long the time is.
    """
    end = min(moments, default=0.0) + max(others, default=0.0) - min(others, default=0.0)
    return sum(moment <= end for moment in moments)


async def _late_end(fleet: Fleet, scopes: str) -> None:
    """Wait until it is late in the token's life, and the process that works alone has failed."""
    loop = asyncio.get_running_loop()
    late = loop.time() + _OUTAGE * fleet.plan.lifetime
    while loop.time() < late or (  # noqa: ASYNC110 - the counters of a sandbox are no event
        len(_failures(fleet.okta_of_one, scopes)) < _FAILURES and loop.time() < late + _PATIENCE
    ):
        await asyncio.sleep(_INTERVAL)


def _failures(okta: Sandbox, scopes: str) -> list[float]:
    """Return when each failed token request arrived, in seconds since the epoch."""
    return [request.at for request in token_requests(okta, scopes) if request.status != _OK]
