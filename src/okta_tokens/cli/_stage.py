"""The demo's stage: a sandbox, a provider, coroutines that ask, and what is counted on both sides.

What the sandbox counts is the evidence; what callers count is whether a call failed or waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from secrets import token_urlsafe

import aiohttp

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.cli._scene import Display, Picture, Plan, Row
from okta_tokens.errors import TokenProviderError
from okta_tokens.events import Event, FetchFailed, KeyEvent, RenewalFailed, TokenFetched
from okta_tokens.sandbox import ReceivedRequest, Sandbox, SandboxClient

CLIENT_ID = "0oademo"

_FRAME = 0.125  # seconds between two pictures of a live table
_EVERY_NTH_CALLS = 45  # odd, so that with two keys both are used


class Stage:
    """A sandbox and a provider, for as long as the demo runs; made by `open_stage`."""

    def __init__(
        self,
        plan: Plan,
        display: Display,
        sandbox: Sandbox,
        provider: TokenProvider,
        session: aiohttp.ClientSession,
        rows: dict[frozenset[str], Row],
    ) -> None:
        self.plan = plan
        self.display = display
        self.sandbox = sandbox
        self.session = session
        self._provider = provider
        self._rows = rows

    def rows(self, *scopes: str) -> list[Row]:
        """Return the keys that the next act is about; the others are not talked of any more."""
        wanted = [self._rows[frozenset(names.split())] for names in scopes]
        for row in self._rows.values():
            row.in_play = row in wanted
        return wanted

    async def get(self, row: Row) -> AccessToken | None:
        """Ask for a token as any caller would; note whether the call waited, or failed."""
        row.gets += 1
        # The loop runs this before it can resume the call, so a call that does not suspend, and
        # only such a call, comes in time to cancel it.
        waits = asyncio.get_running_loop().call_soon(row.note_wait)
        try:
            return await row.source.get_token()
        except TokenProviderError:
            row.errors += 1
            return None
        finally:
            waits.cancel()

    async def use(self, row: Row, token: AccessToken) -> None:
        """Call the sandbox's protected resource, which looks at the token."""
        headers = {"Authorization": token.authorization}
        url = self.sandbox.resource_url
        try:
            async with self.session.get(url, params={"scope": row.scopes}, headers=headers):
                pass
        except aiohttp.ClientError:
            row.errors += 1

    @asynccontextmanager
    async def asking(self, *rows: Row) -> AsyncIterator[None]:
        """Let coroutines ask for tokens again and again; some of them use what they get."""
        over = asyncio.Event()
        askers = (
            self._ask(rows[number % len(rows)], number, over) for number in range(self.plan.askers)
        )
        async with _tasks(*askers) as tasks:
            yield
            over.set()
            await asyncio.gather(*tasks)

    async def _ask(self, row: Row, number: int, over: asyncio.Event) -> None:
        pause = 0.02 + 0.03 * number / self.plan.askers
        while not over.is_set():
            token = await self.get(row)
            if token is not None and number % _EVERY_NTH_CALLS == 0:
                await self.use(row, token)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Keep the display up to date."""
        with self.display:
            async with _tasks(self._animate()):
                yield
            self.draw()

    async def _animate(self) -> None:
        while True:
            self.draw()
            await asyncio.sleep(_FRAME)

    def draw(self) -> None:
        """Show how the keys fare now."""
        known = {frozenset(status.scopes): status for status in self._provider.inspect()}
        pictures = []
        for scopes, row in self._rows.items():
            status = known.get(scopes)
            state, remaining = (
                ("absent", None) if status is None else (status.state, status.remaining)
            )
            pictures.append(Picture(row, state, remaining))
        self.display.draw(pictures)


@asynccontextmanager
async def open_stage(plan: Plan, display: Display) -> AsyncIterator[Stage]:
    """Run a sandbox and a provider.

    Args:
        plan: Which tokens there are, and how long they live.
        display: Hears of what happens.
    """
    rows: dict[frozenset[str], Row] = {}
    lifetimes = dict((plan.cold, *plan.short, plan.outage))

    def count(request: ReceivedRequest) -> None:
        row = rows[frozenset(request.scopes)]
        row.requests += 1
        row.tokens += request.error is None

    def tell(event: Event) -> None:
        if isinstance(event, KeyEvent) and (line := _line(event)):
            row = rows[event.key.scopes]
            if row.in_play:
                display.say(f"{row.scopes}: {line}")

    app = SandboxClient(CLIENT_ID, [token_urlsafe()], scopes=" ".join(lifetimes).split())
    async with (
        Sandbox([app], lifetimes=lifetimes, on_request=count) as sandbox,
        TokenProvider(observers=[tell]) as provider,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        client = OktaClient(sandbox.origin, CLIENT_ID, ClientSecretBasic(app.secrets[0]))
        for scopes, lifetime in lifetimes.items():
            row = Row(scopes, lifetime, provider.source(client, scopes))
            rows[row.source.key.scopes] = row
        yield Stage(plan, display, sandbox, provider, session, rows)


def _line(event: KeyEvent) -> str:
    match event:
        case TokenFetched(waiters=0):
            return f"renewed in the background; good for {event.lifetime:g} s"
        case TokenFetched():
            return f"fetched; callers that waited: {event.waiters:,}; good for {event.lifetime:g} s"
        case RenewalFailed():
            return (
                f"a renewal failed ({type(event.error).__name__}); callers get the token that is "
                f"held, for up to {event.remaining:.1f} s more"
            )
        case FetchFailed():
            return (
                f"no token ({type(event.error).__name__}); callers that hear it: {event.waiters:,}"
            )
        case _:
            return ""


@asynccontextmanager
async def _tasks(
    *coroutines: Coroutine[None, None, None],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run coroutines until the end of the block; an error of the block comes out as it is."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
