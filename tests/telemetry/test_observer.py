"""`OpenTelemetryObserver` measures what events tell, under the names of the guide."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from collections import deque
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics.export import NumberDataPoint

from okta_tokens import (
    ClientSecretBasic,
    OktaClient,
    TokenProvider,
    __version__,
)
from okta_tokens.errors import (
    ConfigurationError,
    CredentialError,
    FetchError,
    OAuthError,
    RateLimitedError,
)
from okta_tokens.events import AttemptFailed, FetchFailed, StoreFailed
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.telemetry import OpenTelemetryObserver
from okta_tokens.telemetry._gauges import gauges_of
from tests.clock import ManualClock, settle
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SCOPES, SECRET, World, default_client, world
from tests.telemetry.readings import Attributes, Meters

CLIENT = "okta_tokens.client_id"
ERROR = "error.type"
REASON = "okta_tokens.reason"
STATE = "okta_tokens.state"
STATUS = "http.response.status_code"


@pytest.fixture
def meters() -> Meters:
    """A meter provider, and its reader."""
    return Meters()


@pytest.fixture
def observer(meters: Meters) -> OpenTelemetryObserver:
    """An observer that measures with it."""
    return OpenTelemetryObserver(meter_provider=meters.provider)


def address(here: World) -> Attributes:
    """Return the attributes of the sandbox."""
    host, _, port = here.client.domain.partition(":")
    return {"server.address": host, "server.port": int(port)}


async def outage(here: World, source: Any) -> None:  # noqa: ANN401
    """Let a fetch fail because Okta is down."""
    here.sandbox.fault = Fault.status(503)
    fetch = asyncio.create_task(source.get_token())
    await here.all_attempts()
    with pytest.raises(FetchError):
        await fetch


async def test_requests_and_waits_are_measured_with_failures(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """Each attempt has a duration by reason, status and error type; each awaited fetch, a wait."""
    async with world(observers=[observer]) as here:
        await outage(here, here.source())
        here.sandbox.fault = None
        await here.advance(600)
        await here.source().get_token()
        await here.source("b").get_token()
        await settle()
        common = {**address(here), CLIENT: CLIENT_ID, REASON: "missing"}
        failed = {ERROR: "ServerError"}
        requests, waits = (meters.histograms(f"{name}.duration") for name in ("request", "wait"))

        assert [(attributes, point.count) for attributes, point in requests] == [
            ({**common, **failed, STATUS: 503}, 6),
            ({**common, STATUS: 200}, 2),
        ]
        assert [(attributes, point.count) for attributes, point in waits] == [
            ({**common, **failed}, 1),
            (common, 2),
        ]
        assert waits[0][1].sum == here.seen(FetchFailed)[0].waited > 0
        assert {point.explicit_bounds[-1] for _, point in [*requests, *waits]} == {10}


async def test_a_renewal_is_measured_without_a_wait(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """A renewal for which no caller waits has a duration, and no wait."""
    async with world(observers=[observer]) as here:
        await here.source(keep_fresh=True).get_token()
        await here.advance(3500)
        reasons = [attributes[REASON] for attributes, _ in meters.histograms("request.duration")]

        assert reasons == ["missing", "due"]
        assert len(meters.histograms("wait.duration")) == 1


async def test_what_happens_is_counted(meters: Meters, observer: OpenTelemetryObserver) -> None:
    """Discarded tokens, pauses, outages of the store and adopted tokens are counted."""
    async with world(observers=[observer], store=MemoryTokenStore) as here:
        assert here.store is not None
        await here.source().get_token()
        async with TokenProvider(clock=here.clock, store=here.store, observers=[observer]) as other:
            adopted = await other.source(here.client, "a").get_token()
            other.invalidate(adopted)
            await here.advance(1)
        token = await here.source("b").get_token()
        here.provider.invalidate(token)
        here.sandbox.fault = Fault.rate_limited(reset_in=300)
        for scope in ("c", "b c"):
            with pytest.raises(RateLimitedError):
                await here.source(scope).get_token()
        for reason in ("ConnectionError", "no response within 0.5 s"):
            observer(StoreFailed(host=None, reason=reason, after=1.0))
        await settle()

        assert meters.values("tokens.adopted", CLIENT) == {CLIENT_ID: 1}
        assert meters.values("invalidations", CLIENT) == {CLIENT_ID: 2}
        assert meters.values("withdrawals", CLIENT) == {CLIENT_ID: 1}
        assert meters.values("pauses", STATUS) == {429: 1}
        assert meters.values("errors.served", ERROR) == {"RateLimitedError": 2}
        assert meters.values("store.errors", ERROR) == {"ConnectionError": 1, "timeout": 1}


async def test_a_revocation_is_no_token_request(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """A revocation that fails is not among the durations of token requests."""
    secrets = [SECRET]  # the callable fails afterwards
    credential = ClientSecretBasic(secrets.pop)
    async with world(observers=[observer], authentication=credential) as here:
        token = await here.source().get_token()
        caller = asyncio.ensure_future(here.provider.revoke(token))
        await here.all_attempts()
        with pytest.raises(CredentialError):
            await caller

        assert {event.reason for event in here.seen(AttemptFailed)} == {"revocation"}
        assert len(meters.histograms("request.duration")) == 1


async def test_every_error_that_a_caller_gets_is_counted(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """Callers who wait, callers in the cool-down and callers of a closed provider's past count."""
    async with world(
        observers=[observer], authentication=ClientSecretBasic("wrong-secret-of-the-test")
    ) as here:
        calls = [here.source().get_token() for _ in range(3)]
        await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(OAuthError):
            await here.source().get_token()

        assert meters.values("errors.served", ERROR) == {"OAuthError": 4}

    assert meters.values("errors.served", ERROR) == {"OAuthError": 4}

    del here
    async with world(observers=[observer]):
        assert meters.values("errors.served", ERROR) == {"OAuthError": 4}


async def test_the_state_of_each_key_is_that_of_inspect(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """In each state of a key, the gauges say what `inspect` says, also when only time has moved."""
    async with world(observers=[observer], lifetimes={"b": 300}) as here:
        await here.provider.warm(here.source("a"), here.source("b"))
        with pytest.raises(OAuthError):
            await here.source("d").get_token()  # a scope that Okta does not know
        for seconds in (0, *[60] * 40):
            here.clock._move(here.clock.boot + seconds)  # no timer fires
            states = [status.state for status in here.provider.inspect()]

            assert meters.values("keys", STATE) == {
                state: states.count(state) for state in {*states}
            }


async def test_the_remaining_life_is_that_of_the_next_key_without_a_token(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """It is the least of a client's keys, falls with the time, and is 0 after a failed fetch."""
    async with world(observers=[observer], lifetimes={"a": 300}) as here:
        assert meters.values("token.remaining", CLIENT) == {}

        await here.provider.warm(here.source("a"), here.source("b"))
        here.provider.invalidate(await here.source("b c").get_token())
        await settle()
        before = meters.values("token.remaining", CLIENT)
        here.clock._move(here.clock.boot + 100)
        after = meters.values("token.remaining", CLIENT)
        here.clock.wall += 150
        jumped = meters.values("token.remaining", CLIENT)
        await outage(here, here.source("c"))
        await settle()

        assert before == {CLIENT_ID: pytest.approx(295, abs=5)}
        assert after == {CLIENT_ID: pytest.approx(before[CLIENT_ID] - 100)}
        assert jumped == {CLIENT_ID: pytest.approx(after[CLIENT_ID] - 150)}
        assert meters.values("token.remaining", CLIENT) == {CLIENT_ID: 0.0}


async def test_an_unused_token_does_not_look_like_an_outage(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """A token that is left to expire because no caller uses it has no remaining life to watch."""
    async with world(observers=[observer]) as here:
        source = here.source()
        await source.get_token()
        await here.advance(1)
        here.provider._manager.entries.get_or_add(source.key).used = 0
        await here.advance(3300)

        assert meters.values("token.remaining", CLIENT) == {}
        assert meters.values("keys", STATE) == {"due": 1}

        await here.advance(300)

        assert meters.values("keys", STATE) == {}


async def test_renewals_that_fail_are_seen_before_callers_notice(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """While every renewal fails, the failures grow and the remaining life falls."""
    async with world(observers=[observer]) as here:
        await here.source(keep_fresh=True).get_token()
        here.sandbox.fault = Fault.status(503)
        await here.advance(3400)

        assert meters.values("renewal.consecutive_failures", CLIENT)[CLIENT_ID] > 1
        assert 0 < meters.values("token.remaining", CLIENT)[CLIENT_ID] < 200

        here.sandbox.fault = None
        await here.advance(100)

        assert meters.values("renewal.consecutive_failures", CLIENT) == {CLIENT_ID: 0}


async def test_the_clock_offset_is_measured_by_domain(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """The offset of each domain is how far Okta's clock is ahead."""
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)
    wall = ManualClock().wall_time() + 40
    okta = Sandbox([app], wall_time=lambda: wall)
    async with world(observers=[observer], sandbox=okta) as here:
        await here.source().get_token()
        await settle()
        ((attributes, point),) = meters.points("clock.offset")

        assert attributes == address(here)
        assert cast("NumberDataPoint", point).value == pytest.approx(40, abs=1)


async def test_one_observer_serves_several_providers(meters: Meters) -> None:
    """Keys of several providers add up, also those of other observers; closed ones vanish."""
    observers = [OpenTelemetryObserver(meter_provider=meters.provider) for _ in range(2)]
    async with Sandbox() as okta:
        client, providers = default_client(okta), list[TokenProvider]()
        for observer in (observers[0], observers[0], observers[1]):
            providers.append(TokenProvider(observers=[observer]))
            await providers[-1].start()
            await providers[-1].get_token(client, "orders:read")
        await settle()
        counts = [meters.values("keys", STATE)]
        for provider in providers:
            await provider.aclose()
            counts.append(meters.values("keys", STATE))

        assert counts == [{"fresh": 3}, {"fresh": 2}, {"fresh": 1}, {}]


async def test_a_provider_is_held_weakly(meters: Meters, observer: OpenTelemetryObserver) -> None:
    """The observer does not keep a provider alive, and its gauges vanish with it."""
    provider = TokenProvider(observers=[observer])
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))
    source = provider.source(client, "a")
    async with provider:
        assert meters.values("keys", STATE) == {"absent": 1}
    observer.attach(provider)
    held = weakref.ref(provider)
    del provider, source
    gc.collect()

    assert held() is None
    assert meters.values("keys", STATE) == {}


async def test_an_event_of_another_loop_changes_nothing(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """A thread that delivers another provider's event does not look into this provider."""
    async with world(observers=[observer]) as here:
        await here.source().get_token()
        await settle()
        event = here.events[-1]
        here.provider._manager.entries.get_or_add(here.source().key).drop_token()
        await asyncio.to_thread(observer, event)

        assert meters.values("keys", STATE) == {"fresh": 1}

        observer(event)

        assert meters.values("keys", STATE) == {"absent": 1}


async def test_keys_whose_events_were_lost_are_forgotten(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """If the provider drops more keys at once than it delivers events, no key stays behind."""
    async with world(observers=[observer]) as here:
        provider = TokenProvider(clock=here.clock, observers=[observer])
        sources = [provider.source(here.client, f"s{number}") for number in range(1_100)]
        async with provider:
            before = meters.values("keys", STATE)
            provider._emitter._pending = deque(maxlen=1)
            await provider.clear()
            await settle()

            assert before == {"absent": len(sources)}
            assert meters.values("keys", STATE) == {}


async def test_the_client_can_be_left_out(meters: Meters) -> None:
    """With `client_id=False` the time series of a domain's clients are one."""
    observer = OpenTelemetryObserver(meter_provider=meters.provider, client_id=False)
    async with world(observers=[observer]) as here:
        await here.source().get_token()
        await settle()
        everything = {
            name
            for metric in meters.metrics()
            for attributes, _ in meters.points(metric.removeprefix("okta_tokens."))
            for name in attributes
        }

        assert everything == {"server.address", "server.port", REASON, STATUS, STATE}


async def test_a_server_cannot_make_time_series_without_end(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """After fifty error codes further ones have the type `_OTHER`; classes always have theirs."""
    async with world(observers=[observer]) as here:
        key = here.source().key
        for number in range(60):
            error = OAuthError("no", error=f"code_{number}", description="", status=400)
            event = AttemptFailed(key=key, reason="missing", waited=0.0, error=error, duration=1.0)
            observer(event)
            observer(event)
        types = {attributes[ERROR] for attributes, _ in meters.histograms("request.duration")}

        assert types == {*(f"code_{number}" for number in range(50)), "_OTHER"}


async def test_a_reader_never_meets_a_half_changed_table(
    meters: Meters, observer: OpenTelemetryObserver
) -> None:
    """A reader sees the keys of one moment, although the event loop adds and drops keys meanwhile.

    The reader is a thread in truth. Here it stops between two keys, where a thread might.
    """
    async with world(observers=[observer]) as here:
        await here.provider.warm(here.source("a"), here.source("b"))
        await settle()
        (watch,), _ = gauges_of(meters.provider)._watched
        reader = watch.outlooks()
        keys = [next(reader)[0].scope]
        await here.provider.clear()
        await here.source("c").get_token()
        await settle()
        keys += [key.scope for key, *_ in reader]

        assert keys == ["a", "b"]
        assert [key.scope for key, *_ in watch.outlooks()] == ["c"]


def test_the_scope_is_the_package() -> None:
    """The instruments belong to the scope `okta_tokens`, with the version of the package."""
    meters = Meters()
    observer = OpenTelemetryObserver(meter_provider=meters.provider)
    observer(StoreFailed(host=None, reason="ConnectionError", after=1.0))
    data = meters.reader.get_metrics_data()
    assert data is not None
    ((scope,),) = (resource.scope_metrics for resource in data.resource_metrics)

    assert (scope.scope.name, scope.scope.version) == ("okta_tokens", __version__)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("meter_provider", "global", "meter_provider: must be a MeterProvider"),
        ("client_id", "0oa1b2c3", "client_id: must be True or False"),
    ],
)
def test_an_invalid_argument_is_named(name: str, value: Any, message: str) -> None:  # noqa: ANN401
    """A value that is no meter provider, or no boolean, is refused."""
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        OpenTelemetryObserver(**{name: value})


def test_the_extra_that_is_missing_is_named() -> None:
    """The package does not load OpenTelemetry; without it, the module says what to install."""
    program = """
import sys
import okta_tokens
assert "opentelemetry" not in sys.modules
sys.modules["opentelemetry"] = None
try:
    import okta_tokens.telemetry
except ModuleNotFoundError as error:
    print(*error.__notes__)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )

    assert run.stdout == "install the extra: pip install 'okta-tokens[otel]'\n"
