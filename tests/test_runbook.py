"""The runbook is true: each incident is provoked, and shows what its section promises."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientSession, web

from okta_tokens import (
    ClientSecretBasic,
    OktaClient,
    PrivateKeyJWT,
    TokenProvider,
    TokenSource,
    events,
)
from okta_tokens._runtime.clock import SystemClock
from okta_tokens.adapters.aiohttp import TokenMiddleware
from okta_tokens.doctor import diagnose
from okta_tokens.errors import FetchError
from okta_tokens.sandbox import DEFAULT_CLIENT, Fault, Sandbox, SandboxClient
from tests.clock import settle
from tests.keys import ec_key, pem, public_jwk
from tests.pages import EVENTS, OTHER_LINES, page
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SCOPES, SECRET, World, default_client, until, world

PAGE = page("doctor")

METRICS = {*re.findall(r"`(okta_tokens_\w+)` \|$", page("telemetry"), re.MULTILINE)}
"""The metrics, by the names that the Prometheus exporter gives them."""


# The page


class Section:
    """A section of the page.

    Args:
        title: Its heading.
    """

    def __init__(self, title: str) -> None:
        (self.text,) = re.findall(
            rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL
        )

    @property
    def lines(self) -> list[str]:
        """The log lines that it promises."""
        (block,) = re.findall(r"^```text\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        return str(block).splitlines()

    def quoted(self, label: str) -> list[str]:
        """Return what stands in code quotes in the paragraph with a label."""
        (paragraph,) = re.findall(
            rf"^- \*\*{label}:\*\*(.*?)(?=^- |\Z)", self.text, re.MULTILINE | re.DOTALL
        )
        return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", paragraph)]


def name_of(line: str) -> str:
    """Return the name of the event of a log line."""
    (name,) = re.findall(r"event='([\w.]+)'", line)
    return str(name)


NORMAL = Section("A normal day")
NORMAL_NAMES = {name_of(line) for line in NORMAL.lines}


def pattern(line: str) -> str:
    """Return the pattern of a log line: `…` is any text, and each number but a status is any."""
    parts = re.split(r"(status=\d+|…|-?\d+(?:\.\d+)?)", line)
    return "".join(
        ".*" if part == "…" else re.escape(part) if index % 2 == 0 or "=" in part else r"-?[\d.]+"
        for index, part in enumerate(parts)
    ).replace(r".*\ ", ".*")


class Log:
    """The lines of the logger `okta_tokens`, as the page writes them.

    Args:
        capture: Captures the records.
    """

    def __init__(self, capture: pytest.LogCaptureFixture) -> None:
        self._capture = capture

    @property
    def lines(self) -> list[str]:
        """The lines so far, with their levels."""
        return [
            f"{record.levelname} {record.getMessage()}"
            for record in self._capture.records
            if record.name == "okta_tokens"
        ]

    @property
    def alarming(self) -> list[str]:
        """The lines at warning or above so far."""
        return [line for line in self.lines if line.startswith(("WARNING", "ERROR"))]

    def fulfils(self, section: Section) -> bool:
        """Check that there is each line which a section promises, and no other one."""
        names = [*dict.fromkeys(map(name_of, self.lines))]
        assert {*names} - NORMAL_NAMES == {*map(name_of, section.lines)} - NORMAL_NAMES
        for line in section.lines:
            assert any(re.fullmatch(pattern(line), shown) for shown in self.lines), line
        return True


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    """What an application logs that set the level `INFO`."""
    structlog.reset_defaults()
    caplog.set_level(logging.INFO, "okta_tokens")
    return Log(caplog)


def shows(here: World, source: TokenSource, section: Section, label: str = "See") -> bool:
    """Check each statement of a paragraph about the snapshots."""
    snapshots = {
        "key": next(iter(here.provider.inspect()), None),
        "stats": here.provider.stats(),
        "ready": here.provider.ready(source),
    }
    codes = section.quoted(label)
    statements = [code for code in codes if re.search(r"\b(key|stats|ready)\.", code)]
    assert statements
    for statement in statements:
        assert eval(statement, {}, snapshots), (statement, snapshots)  # noqa: S307 - our own page
    return True


# The incidents


async def call(here: World, source: TokenSource) -> None:
    """Call for a token; after each failure, and in a pause, move time until the call ends."""
    caller = asyncio.ensure_future(source.get_token())
    failures = len(here.seen(events.AttemptFailed))

    def may_move() -> bool:
        is_paused = any(key.paused_for for key in here.provider.inspect())
        return caller.done() or is_paused or len(here.seen(events.AttemptFailed)) > failures

    await settle()
    while not caller.done():
        await until(may_move)
        failures = len(here.seen(events.AttemptFailed))
        await here.clock.advance(5)
    error = caller.exception()
    assert error is None or isinstance(error, FetchError)


async def use(here: World, *sources: TokenSource, seconds: int) -> None:
    """Call for a token of each source every 30 seconds."""
    for _ in range(seconds // 30):
        for source in sources:
            await call(here, source)
        await here.advance(30)


async def test_an_outage_is_seen_before_callers_fail(log: Log) -> None:
    """While Okta responds with 503, renewals fail first, then the last one, then fetches."""
    section = Section("Okta is down")
    async with world() as here:
        source = here.source()
        await use(here, source, seconds=2400)
        here.sandbox.fault = Fault.status(503)
        await use(here, source, seconds=1140)
        assert shows(here, source, section, "See, while a token is held")
        await use(here, source, seconds=180)
        assert shows(here, source, section, "See, later")
        here.sandbox.fault = None
        await use(here, source, seconds=60)

        assert log.fulfils(section)


async def test_a_revoked_secret_is_seen_minutes_before_callers_fail(log: Log) -> None:
    """The first renewal that Okta refuses makes an error, not a warning."""
    section = Section("The secret was revoked")
    secrets = [SECRET]
    async with world(authentication=ClientSecretBasic(lambda: secrets[-1])) as here:
        source = here.source()
        await use(here, source, seconds=2400)
        new = SandboxClient(CLIENT_ID, [SECRET[::-1]], scopes=SCOPES, integration=True)
        here.sandbox.put_client(new)
        await use(here, source, seconds=1020)
        assert shows(here, source, section, "See, while a token is held")
        assert "ERROR" in log.alarming[0]
        await use(here, source, seconds=420)
        assert shows(here, source, section, "See, later")
        secrets.append(SECRET[::-1])
        await use(here, source, seconds=60)

        assert log.fulfils(section)


async def test_a_rotated_key_is_seen_and_replaced_without_a_restart(log: Log) -> None:
    """A new key that the client reads is used within a minute, and no caller notices."""
    section = Section("The key was rotated")
    keys = [ec_key(number=1)]

    def app() -> SandboxClient:
        return SandboxClient(CLIENT_ID, keys=[public_jwk(keys[-1])], scopes=SCOPES)

    held = pem(keys[-1])
    async with world(app=app(), authentication=PrivateKeyJWT(lambda: held)) as here:
        source = here.source()
        await use(here, source, seconds=2400)
        keys.append(ec_key(number=2))
        here.sandbox.put_client(app())
        await use(here, source, seconds=1020)
        assert shows(here, source, section)
        held = pem(keys[-1])
        await use(here, source, seconds=120)

        assert log.fulfils(section)


async def test_a_rate_limit_is_seen_with_its_waiters(log: Log) -> None:
    """A 429 makes one line for each pause; the snapshot shows the pause."""
    section = Section("Okta responds with 429")
    async with world() as here:
        source = here.source()
        await use(here, source, seconds=2400)
        here.sandbox.fault = Fault.rate_limited(50)
        while not here.seen(events.RequestsPaused):
            await use(here, source, seconds=30)
        assert shows(here, source, section, "See, while a token is held")
        while not here.seen(events.FetchFailed):
            await here.advance(10)
            await call(here, source)
        assert shows(here, source, section, "See, later")
        here.sandbox.fault = None
        await use(here, source, seconds=120)

        assert log.fulfils(section)


async def test_slow_responses_are_seen_before_they_time_out(log: Log) -> None:
    """Responses that take 6 s make a warning although nothing fails."""
    section = Section("Okta is slow")
    async with world() as here:
        source = here.source()
        here.sandbox.latency = 0.02
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        here.clock.boot += 6
        here.clock.wall += 6
        await caller
        await here.quiet()
        assert shows(here, source, section)
        for _ in range(3):
            await source.refresh()

        assert max(here.provider.stats().response_times.values()) < 6 / 2
        assert log.fulfils(section)


async def refuse(_request: web.BaseRequest) -> web.StreamResponse:
    """Be an API that accepts no token."""
    challenge = 'Bearer error="invalid_token", error_description="wrong audience"'
    return web.Response(status=401, headers={"WWW-Authenticate": challenge})


async def test_an_api_that_rejects_every_token_is_seen(log: Log) -> None:
    """The provider holds a fresh token, and a warning says that a replacement did not help."""
    section = Section("An API rejects every token")
    runner = web.ServerRunner(web.Server(refuse))
    async with world() as here, AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api = "http://{}:{}".format(*runner.addresses[0])
        source = here.source()
        middleware = TokenMiddleware(source, origins=[api])
        session = await stack.enter_async_context(ClientSession(middlewares=[middleware]))
        for _ in range(3):
            async with session.get(api) as response:
                assert response.status == 401
        await here.quiet()

        assert shows(here, source, section)
        assert log.fulfils(section)


async def test_a_wrong_clock_is_seen_although_tokens_arrive(log: Log) -> None:
    """An offset of ten minutes makes one line, and harms no request."""
    section = Section("The clock is wrong")
    async with world() as here:
        here.sandbox.date_offset = 600
        source = here.source()
        await use(here, source, seconds=60)
        assert shows(here, source, section)
        here.sandbox.date_offset = 0
        for _ in range(2):
            await source.refresh()
        await here.quiet()

        assert max(here.provider.stats().clock_offsets.values()) < 30
        assert log.fulfils(section)


class NamedStore(MemoryTokenStore):
    """A store that names its server, as `RedisTokenStore` does."""

    host = "tokens.acme.com"


async def test_a_store_that_is_down_is_seen_once(log: Log) -> None:
    """Hours without the store make one line, and another one at the end."""
    section = Section("The store is down")
    async with world(store=NamedStore) as here:
        assert here.store is not None
        source = here.source()
        await use(here, source, seconds=60)
        here.store.error = ConnectionError("refused")
        await use(here, source, seconds=7200)
        assert shows(here, source, section)
        here.store.error = None
        await use(here, source, seconds=3600)

        assert len(here.seen(events.StoreFailed)) == 1
        assert log.fulfils(section)


async def test_memory_that_grows_is_seen(log: Log) -> None:
    """Clients that are made for each call make a warning, and another one when places run out."""
    section = Section("Memory grows")
    async with world(max_tokens=3) as here:
        secrets = [ClientSecretBasic(lambda: SECRET) for _ in range(5)]
        clients = [OktaClient(here.sandbox.origin, CLIENT_ID, secret) for secret in secrets]
        sources = [here.provider.source(client, "a") for client in clients]
        for source in sources:
            await call(here, source)
        await here.quiet()

        assert shows(here, sources[-1], section)
        assert log.fulfils(section)


async def test_too_many_requests_are_seen(log: Log) -> None:
    """Providers that are made for each call make a line for each request, and one warning."""
    section = Section("Too many requests")
    async with world() as here:
        await call(here, here.source())
        for _ in range(4):
            async with TokenProvider(clock=here.clock) as provider:
                source = provider.source(here.client, "a")
                await source.get_token()
                other = World(here.clock, here.sandbox, provider, here.client)
                assert shows(other, source, section)

        assert sum("token_fetched" in line for line in log.lines) == here.sandbox.token_requests
        assert log.fulfils(section)


# The doctor


def with_another_secret(okta: Sandbox) -> None:
    """Replace the secret of the client."""
    okta.put_client(SandboxClient(DEFAULT_CLIENT.client_id, [SECRET], scopes=["orders:read"]))


def with_few_requests_left(okta: Sandbox) -> None:
    """Use most of the rate limit up."""
    for _ in range(17):
        okta._window("default").take(okta.now())


CHANGES: dict[str, Callable[[Sandbox], object]] = {
    "Okta is down": lambda okta: setattr(okta, "fault", Fault.status(503)),
    "The secret was revoked": with_another_secret,
    "The key was rotated": with_another_secret,
    "Okta responds with 429": lambda okta: setattr(okta, "fault", Fault.rate_limited(50)),
    "Okta is slow": lambda okta: setattr(okta, "latency", 1.05),
    "An API rejects every token": lambda _: None,
    "The clock is wrong": lambda okta: setattr(okta, "date_offset", 600),
    "The store is down": lambda _: None,
    "Too many requests": with_few_requests_left,
}
"""What is wrong at Okta, by the title of the incident."""


@pytest.mark.parametrize("title", CHANGES)
async def test_the_doctor_says_what_the_section_promises(title: str) -> None:
    """The first result that a section names is the doctor's; without one, all is well."""
    promised = Section(title).quoted("Doctor")[:1]
    store = MemoryTokenStore(SystemClock())
    store.error = ConnectionError() if "store" in title else None
    async with Sandbox(rate_limit=20) as okta:
        CHANGES[title](okta)
        diagnosis = await diagnose(default_client(okta), "orders:read", store=store)

    found = [
        f"{result.outcome.value.upper()} {result.name}"
        for result in diagnosis.results
        if result.outcome.value in {"fail", "warn"}
    ]
    assert found[:1] == promised


# What is normal


async def test_a_normal_hour_makes_no_line_above_info(log: Log) -> None:
    """Ten keys that are renewed several times make a line each, for their first token."""
    names = [f"k{number}" for number in range(10)]
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=names)
    async with world(app=app, lifetime=600) as here:
        sources = [*map(here.source, names)]
        await use(here, *sources, seconds=3600)
        assert len(here.seen(events.TokenRenewed)) >= 50

    assert log.alarming == []
    assert log.fulfils(NORMAL)
    assert len(log.lines) == 12


@pytest.mark.parametrize(("age", "limit"), [(2970, 30), (0, 40)], ids=["held", "missing"])
async def test_an_outage_makes_a_bounded_number_of_lines(log: Log, age: int, limit: int) -> None:
    """Ten minutes without Okta make no more lines than the page says, with twenty callers."""
    async with world() as here:
        source = here.source()
        await use(here, source, seconds=age)
        here.sandbox.fault = Fault.status(503)
        await use(here, *[source] * 20, seconds=600)

        assert f"at most {limit} " in NORMAL.text.replace("\n", " ")
        assert 5 < len(log.alarming) <= limit


# The alerts


def limit(alert: str) -> int:
    """Return the number that the first comparison of an alert's expression has."""
    (expression,) = [row[1] for row in rows("Alerts") if row[0] == alert]
    (number, *_) = re.findall(r" [<>]=? (\d+)", expression)
    return int(number)


async def test_an_outage_is_told_by_an_alert_minutes_before_callers_fail() -> None:
    """A token of an hour has met enough failures before its remaining life is below the limit."""
    async with world() as here:
        source = here.source()
        await use(here, source, seconds=2400)
        here.sandbox.fault = Fault.status(503)
        await use(here, source, seconds=1140)

        enough = limit("renewals fail")
        (failed,) = [event for event in here.seen(events.RenewalFailed) if event.failures == enough]
        assert failed.remaining > limit("tokens run out")


async def test_an_api_that_rejects_every_token_keeps_its_alert() -> None:
    """While an API rejects every token, each half hour has enough invalidations."""
    async with world() as here:
        source = here.source()
        for _ in range(4):
            before = len(here.seen(events.TokenInvalidated))
            for _ in range(60):
                source.invalidate(await source.get_token())
                await here.advance(30)
            count = len(here.seen(events.TokenInvalidated)) - before
            assert count > limit("an API rejects tokens")


# The tables


def rows(title: str) -> list[list[str]]:
    """Return the rows of the table in a section, without its head."""
    lines = re.findall(r"^\| (.*) \|$", Section(title).text, re.MULTILINE)
    return [line.split(" | ") for line in lines[1:] if not line.startswith("---")]


def test_every_line_is_in_the_table() -> None:
    """The table has each event and each other line exactly once, with its level."""
    shown = [(name.strip("`"), level) for name, level, *_ in rows("Every log line")]
    levels = {name: kind.level for name, kind in EVENTS.items()}

    assert dict(shown) == levels | OTHER_LINES
    assert len(shown) == len(dict(shown))


def test_every_incident_is_provoked() -> None:
    """Each section about an incident has a test that reads it."""
    titles = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    text = Path(__file__).read_text("utf-8")

    assert len(titles) == 10
    assert {title for title in titles if f'Section("{title}")' not in text} == set()


def test_every_heading_that_the_page_links_to_exists() -> None:
    """A link within the page leads to a heading."""
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^##+ (.*)$", PAGE, re.MULTILINE)
    }

    assert {*re.findall(r"\]\(#([^)]+)\)", PAGE)} <= headings


def test_alerts_use_the_metrics_that_exist() -> None:
    """Each metric of an expression is one that the exporter shows, and each row has one."""
    expressions = [expression for _, expression, _ in rows("Alerts")]
    used = [
        re.findall(r"\b(okta_tokens_(?!client_id)\w+?)(?:_bucket|_count)?\b", expression)
        for expression in expressions
    ]

    assert all(used)
    assert set().union(*used) <= METRICS
