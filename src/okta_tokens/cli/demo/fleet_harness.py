"""The harness of a fleet: the processes, their sandboxes, and how both are counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from okta_tokens.cli.demo.display import Display
from okta_tokens.cli.demo.fleet_processes import FleetProcess, Report
from okta_tokens.cli.demo.plan import FleetPlan
from okta_tokens.sandbox import ReceivedRequest, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The processes that share a store, and one process that works alone.

    Args:
        plan: Which tokens the processes use.
        display: Shows what happens.
        okta: The sandbox of the processes that share.
        processes: These processes.
        okta_of_one: The sandbox of the process that works alone.
        one: This process.
        kill_store: Kills the store.
    """

    plan: FleetPlan
    display: Display
    okta: Sandbox
    processes: Sequence[FleetProcess]
    okta_of_one: Sandbox
    one: FleetProcess
    kill_store: Callable[[], object]

    async def run(self, command: str, **arguments: object) -> list[Report]:
        """Let all processes that share run a command at the same moment.

        Args:
            command: The command.
            arguments: Its arguments.

        Returns:
            The report of each process.
        """
        return await asyncio.gather(
            *(process.run(command, **arguments) for process in self.processes)
        )


def token_requests(okta: Sandbox, scopes: str) -> list[ReceivedRequest]:
    """Return the token requests for some scopes. Tokens for others are renewed meanwhile.

    Args:
        okta: The sandbox that received them.
        scopes: The scopes.
    """
    return [request for request in okta.received if request.scopes == (scopes,)]


def count_tokens(reports: Sequence[Report]) -> int:
    """Return how many processes got a token.

    Args:
        reports: Their reports.
    """
    return sum(report.token != "" for report in reports)
