"""The scenarios of a fleet. Each returns the figures that decide whether it passes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from okta_tokens.cli.demo.figures import Figure, at_least, at_most, exactly
from okta_tokens.cli.demo.fleet_harness import Fleet, count_tokens, token_requests
from okta_tokens.cli.demo.fleet_outages import unavailable, unreachable


async def cold_start(fleet: Fleet) -> list[Figure]:
    """Let all processes get the same token at the same moment, while the store is empty.

    Args:
        fleet: The fleet.
    """
    count, scopes = len(fleet.processes), fleet.plan.shared
    fleet.display.show_line(f"all processes get a token for {scopes}; the store is empty")
    with fleet.okta.temporarily(latency=fleet.plan.latency):
        reports = await fleet.run("get", scopes=scopes)
    return [
        exactly(count, "processes got a token", count_tokens(reports)),
        exactly(1, "different tokens", len({report.token for report in reports})),
        at_most(2, "token requests", len(token_requests(fleet.okta, scopes))),
    ]


async def revocation(fleet: Fleet) -> list[Figure]:
    """Let one process revoke the token that all processes use.

    Args:
        fleet: The fleet.
    """
    okta, count, scopes = fleet.okta, len(fleet.processes), fleet.plan.shared
    url, loop = okta.resource_url, asyncio.get_running_loop()
    revoker, *others = fleet.processes
    held = await revoker.run("get", scopes=scopes)
    use = {"scopes": scopes, "old": held.token}
    okta.reset_counters()
    fleet.display.show_line(f"one process revokes the token for {scopes}; the others use it")
    using = asyncio.gather(*(process.run("use", **use) for process in others))
    began = loop.time()
    await revoker.run("revoke", scopes=scopes, url=url)
    reports = [await revoker.run("use", **use), *await using]
    milliseconds = math.ceil(1_000 * (loop.time() - began))
    fleet.display.show_line(f"all processes use another token after {milliseconds:,} ms")
    revoked, refused = okta.tokens_revoked, okta.resource_refused
    requests = len(token_requests(okta, scopes))
    okta.reset_counters()
    await fleet.run("call_api", scopes=scopes, url=url)
    return [
        exactly(1, "tokens revoked", revoked),
        exactly(1, "API calls with the revoked token refused", refused),
        exactly(count, "processes use another token", count_tokens(reports)),
        at_most(fleet.plan.notice, "ms until the last of them does", milliseconds),
        at_most(2, "token requests", requests),
        at_least(count, "API calls of all processes since then", okta.resource_calls),
        exactly(0, "of these calls refused", okta.resource_refused),
    ]


async def without_store(fleet: Fleet) -> list[Figure]:
    """Kill the store, and let all processes get a token for other scopes.

    Args:
        fleet: The fleet.
    """
    count, scopes = len(fleet.processes), fleet.plan.separate
    fleet.kill_store()
    fleet.display.show_line(f"the store is killed; all processes get a token for {scopes}")
    reports = await fleet.run("get", scopes=scopes)
    requests = len(token_requests(fleet.okta, scopes))
    return [
        exactly(count, "processes got a token", count_tokens(reports)),
        exactly(count, "token requests, one by each process", requests),
    ]


SCENARIOS: dict[str, Callable[[Fleet], Awaitable[list[Figure]]]] = {
    "All processes get a token at the same moment": cold_start,
    "Okta responds 503 for most of a token's life": unavailable,
    "Okta closes each connection for most of a token's life": unreachable,
    "One process revokes the token of all": revocation,
    "The store is killed, and all processes get a token for another scope": without_store,
}
