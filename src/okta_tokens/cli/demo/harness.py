"""The demo's harness: a sandbox, a provider, callers, and the counters of both sides.

The sandbox's counters are the evidence. Only callers can count whether a call failed or waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from secrets import token_urlsafe

import aiohttp

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.cli.demo.display import Display
from okta_tokens.cli.demo.plan import Plan
from okta_tokens.cli.demo.probe import KeyProbe
from okta_tokens.cli.demo.snapshot import Snapshot
from okta_tokens.errors import TokenProviderError
from okta_tokens.events import Event, FetchFailed, KeyEvent, RenewalFailed, TokenFetched
from okta_tokens.sandbox import ReceivedRequest, Sandbox, SandboxClient

CLIENT_ID = "0oademo"

_SNAPSHOT_INTERVAL = 0.125  # seconds
_API_CALLER_STEP = 45  # every 45th worker calls the API; odd, so that with two keys both are used


class Harness:
    """A sandbox and a provider for as long as the demo runs; made by `open_harness`."""

    def __init__(
        self,
        plan: Plan,
        display: Display,
        sandbox: Sandbox,
        provider: TokenProvider,
        session: aiohttp.ClientSession,
        probes: dict[frozenset[str], KeyProbe],
    ) -> None:
        self.plan = plan
        self.display = display
        self.sandbox = sandbox
        self.session = session
        self._provider = provider
        self._probes = probes

    def activate(self, *scopes: str) -> list[KeyProbe]:
        """Return the probes that a scenario uses, and stop showing events of all other keys.

        Args:
            *scopes: The scopes of each key.
        """
        chosen = [self._probes[frozenset(names.split())] for names in scopes]
        for probe in self._probes.values():
            probe.is_active = probe in chosen
        return chosen

    async def get(self, probe: KeyProbe) -> AccessToken | None:
        """Get a token like any caller, and count whether the call waited or failed.

        Args:
            probe: The key.

        Returns:
            The token, or None if the call failed.
        """
        probe.calls += 1
        # The loop runs this callback before it can resume the call. So only a call that does not
        # suspend is in time to cancel the callback.
        count_wait = asyncio.get_running_loop().call_soon(probe.count_wait)
        try:
            return await probe.source.get_token()
        except TokenProviderError:
            probe.errors += 1
            return None
        finally:
            count_wait.cancel()

    async def call_api(self, probe: KeyProbe, token: AccessToken) -> None:
        """Call the sandbox's protected resource, which checks the token.

        Args:
            probe: The token's key.
            token: The token.
        """
        headers = {"Authorization": token.authorization}
        url = self.sandbox.resource_url
        try:
            async with self.session.get(url, params={"scope": probe.scopes}, headers=headers):
                pass
        except aiohttp.ClientError:
            probe.errors += 1

    @asynccontextmanager
    async def workers(self, *probes: KeyProbe) -> AsyncIterator[None]:
        """Run workers that keep getting tokens; some of them call the API with their tokens.

        Args:
            *probes: The keys whose tokens the workers get.
        """
        stop = asyncio.Event()
        workers = (
            self._work(probes[number % len(probes)], number, stop)
            for number in range(self.plan.workers)
        )
        async with _tasks(*workers) as tasks:
            yield
            stop.set()
            await asyncio.gather(*tasks)

    async def _work(self, probe: KeyProbe, number: int, stop: asyncio.Event) -> None:
        pause = 0.02 + 0.03 * number / self.plan.workers
        while not stop.is_set():
            token = await self.get(probe)
            if token is not None and number % _API_CALLER_STEP == 0:
                await self.call_api(probe, token)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def displayed(self) -> AsyncIterator[None]:
        """Keep the display up to date until the end of the block."""
        with self.display:
            async with _tasks(self._refresh_display()):
                yield
            self._show_snapshots()

    async def _refresh_display(self) -> None:
        while True:
            self._show_snapshots()
            await asyncio.sleep(_SNAPSHOT_INTERVAL)

    def _show_snapshots(self) -> None:
        known = {frozenset(status.scopes): status for status in self._provider.inspect()}
        snapshots = []
        for scopes, probe in self._probes.items():
            status = known.get(scopes)
            state, remaining = (
                ("absent", None) if status is None else (status.state, status.remaining)
            )
            snapshots.append(Snapshot(probe, state, remaining))
        self.display.show_snapshots(snapshots)


@asynccontextmanager
async def open_harness(plan: Plan, display: Display) -> AsyncIterator[Harness]:
    """Run a sandbox and a provider until the end of the block.

    Args:
        plan: Which tokens there are, and how long they live.
        display: Shows what happens.
    """
    probes: dict[frozenset[str], KeyProbe] = {}
    lifetimes = dict((plan.cold, *plan.short, plan.outage))

    def count(request: ReceivedRequest) -> None:
        probe = probes[frozenset(request.scopes)]
        probe.requests += 1
        probe.tokens += request.error is None

    def show(event: Event) -> None:
        if isinstance(event, KeyEvent) and (line := _line_for(event)):
            probe = probes[event.key.scopes]
            if probe.is_active:
                display.show_line(f"{probe.scopes}: {line}")

    app = SandboxClient(CLIENT_ID, [token_urlsafe()], scopes=" ".join(lifetimes).split())
    async with (
        Sandbox([app], lifetimes=lifetimes, on_request=count) as sandbox,
        TokenProvider(observers=[show]) as provider,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        client = OktaClient(sandbox.origin, CLIENT_ID, ClientSecretBasic(app.secrets[0]))
        for scopes, lifetime in lifetimes.items():
            probe = KeyProbe(scopes, lifetime, provider.source(client, scopes))
            probes[probe.source.key.scopes] = probe
        yield Harness(plan, display, sandbox, provider, session, probes)


def _line_for(event: KeyEvent) -> str:
    """Return the line that the display shows for an event; empty for events of no interest."""
    match event:
        case TokenFetched(waiters=0):
            return f"renewed in the background; valid for {event.lifetime:g} s"
        case TokenFetched():
            return f"fetched; waiting callers: {event.waiters:,}; valid for {event.lifetime:g} s"
        case RenewalFailed():
            return (
                f"renewal failed ({type(event.error).__name__}); "
                f"token usable for {event.remaining:.1f} s"
            )
        case FetchFailed():
            return (
                f"a fetch failed ({type(event.error).__name__}); waiting callers: {event.waiters:,}"
            )
        case _:
            return ""


@asynccontextmanager
async def _tasks(
    *coroutines: Coroutine[None, None, None],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run coroutines until the end of the block; an error of the block is raised unchanged."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
