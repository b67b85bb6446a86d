"""What events tell about fetches and renewals: why, how long, how often, and when all is well."""

import asyncio

import pytest

from okta_tokens import ClientSecretBasic, RetryPolicy
from okta_tokens.errors import CredentialError, FetchError
from okta_tokens.events import (
    AttemptFailed,
    FetchFailed,
    InvalidationIgnored,
    KeyRecovered,
    LastRenewalFailed,
    RenewalFailed,
    RenewalPostponed,
    RequestsPaused,
    TokenFetched,
    TokenInvalidated,
    TokenRenewed,
    TokenRequested,
)
from okta_tokens.sandbox import Fault
from tests.support import SECRET, World, until, world


def reasons(here: World) -> list[str]:
    """Return the reason of each token request."""
    return [event.reason for event in here.seen(TokenRequested)]


async def test_each_request_says_why_it_is_made() -> None:
    """A missing, due, rejected or expired token, and a caller who wants another one, are told."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        await here.advance(3500)
        source.invalidate(await source.get_token())
        await source.get_token()
        await source.refresh()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(3600)
        here.sandbox.fault = None
        await here.advance(31)
        await source.get_token()

        assert {*reasons(here)} == {"missing", "due", "rejected", "forced", "expired"}
        assert reasons(here)[:4] == ["missing", "due", "rejected", "forced"]
        assert reasons(here)[-1] == "expired"


async def test_a_revocation_that_fails_says_so() -> None:
    """The attempts of a revocation have a reason of their own."""
    secrets = [SECRET]
    async with world(authentication=ClientSecretBasic(secrets.pop)) as here:
        token = await here.source().get_token()
        caller = asyncio.ensure_future(here.provider.revoke(token))
        await here.all_attempts()
        with pytest.raises(CredentialError):
            await caller

        failed = here.seen(AttemptFailed)[0]
        assert (failed.reason, failed.status, failed.error_type) == (
            "revocation",
            None,
            "CredentialError",
        )


async def test_a_fetch_tells_how_long_callers_waited() -> None:
    """The wait of the caller who came first includes every attempt and every delay."""
    async with world() as here:
        here.sandbox.fail_next(Fault.status(503), Fault.status(503))
        caller = asyncio.ensure_future(here.source().get_token())
        await here.failures(1)
        await here.clock.advance(5)
        await here.failures(2)
        await here.clock.advance(5)
        await caller
        await here.quiet()

        (fetched,) = here.seen(TokenFetched)
        waited = [event.waited for event in here.seen(TokenRequested)]
        assert waited == sorted(waited)
        assert waited[0] == 0
        assert fetched.waited == pytest.approx(waited[-1])
        assert fetched.waited > 0
        assert fetched.duration == 0


async def test_a_failed_fetch_tells_how_bad_it_is() -> None:
    """It has the number of failures, the time without a token, status, type and duration."""
    async with world(retry=RetryPolicy(attempts=2)) as here:
        source = here.source()
        here.sandbox.fault = Fault.status(503)
        for number in (1, 2):
            caller = asyncio.ensure_future(source.get_token())
            await here.failures(2 * number - 1)
            await here.clock.advance(1)
            with pytest.raises(FetchError):
                await caller
            await here.advance(9)

        first, second = here.seen(FetchFailed)
        assert (first.failures, second.failures) == (1, 2)
        assert (first.status, first.error_type) == (503, "ServerError")
        assert 0 < first.waited == first.duration < 1
        assert first.without_token == 0
        assert second.without_token == pytest.approx(10, abs=1)


async def test_the_error_code_is_the_type_of_a_refusal() -> None:
    """A refusal is told by its code (RFC 6749 section 5.2), as dashboards group it."""
    async with world() as here:
        here.sandbox.fail_next(Fault.refuse(400, "invalid_scope"))
        with pytest.raises(FetchError):
            await here.source().get_token()
        await here.quiet()

        (failed,) = here.seen(FetchFailed)
        assert (failed.status, failed.error_type) == (400, "invalid_scope")


async def test_a_renewal_is_told_quietly_and_its_last_failure_loudly() -> None:
    """A renewal is debug, a failure a warning, and an error once callers will notice."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        await here.advance(3400)
        here.sandbox.fault = Fault.status(503)
        await source.get_token()
        await here.advance(3570)

        (renewed,) = here.seen(TokenRenewed)
        failed = here.seen(RenewalFailed)
        assert renewed.level == "debug"
        assert {event.level for event in failed[:-1]} == {"warning"}
        assert isinstance(failed[-1], LastRenewalFailed)
        assert failed[-1].level == "error"
        assert 0 < failed[-1].remaining < failed[-2].remaining
        assert here.provider.stats().renewals_failed == len(failed)
        assert here.provider.stats().tokens_fetched == 2


async def test_a_renewal_that_no_retry_can_fix_is_told_loudly_at_once() -> None:
    """A revoked secret is an error while the token still has minutes to live."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(3400)

        (failed,) = here.seen(LastRenewalFailed)
        assert failed.remaining > 100
        assert failed.after is None


async def test_a_recovery_is_told_once() -> None:
    """The first token after failures tells how many there were, and for how long."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        here.sandbox.fault = Fault.status(503)
        await here.advance(3450)
        failures = len(here.seen(RenewalFailed))
        here.sandbox.fault = None
        await here.advance(100)
        await here.advance(3000)

        (recovered,) = here.seen(KeyRecovered)
        assert failures > 0
        assert recovered.failures >= failures
        assert 0 < recovered.seconds < 600


async def test_a_pause_tells_who_waits() -> None:
    """A pause names its domain, its status, and how many callers wait; also that of a renewal."""
    async with world() as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=20))
        source = here.source()
        callers = [asyncio.ensure_future(source.get_token()) for _ in range(3)]
        await until(lambda: bool(here.seen(RequestsPaused)))
        await here.clock.advance(25)
        await asyncio.gather(*callers)
        here.sandbox.fail_next(Fault.rate_limited(reset_in=20))
        await here.advance(3500)

        caller, renewal = here.seen(RequestsPaused)
        (postponed,) = here.seen(RenewalPostponed)
        assert (caller.domain, caller.status, caller.waiters) == (here.client.domain, 429, 3)
        assert renewal.waiters == 0
        assert (postponed.reason, postponed.status, postponed.waited) == ("due", 429, 0)


async def test_a_rejection_names_the_api_and_its_challenge_without_secrets() -> None:
    """The events say which API rejected the token, and why, but not the token."""
    async with world() as here:
        source = here.source()
        first = await source.get_token()
        source.invalidate(first, api="https://orders.acme.com", challenge='Bearer error="x"')
        second = await source.get_token()
        here.provider.invalidate(second, challenge=f"Bearer {second.value}")
        await here.quiet()

        (dropped,) = here.seen(TokenInvalidated)
        (ignored,) = here.seen(InvalidationIgnored)
        assert (dropped.api, dropped.challenge) == ("https://orders.acme.com", 'Bearer error="x"')
        assert ignored.api is None
        assert ignored.challenge is not None
        assert second.value not in ignored.challenge


async def test_rejections_that_are_ignored_are_counted_and_told_rarely() -> None:
    """A thousand rejections of a kept token make four events, and `inspect` counts them."""
    async with world() as here:
        source = here.source()
        source.invalidate(await source.get_token())
        token = await source.get_token()
        for _ in range(1_000):
            source.invalidate(token)
        await here.quiet()

        assert [event.rejections for event in here.seen(InvalidationIgnored)] == [1, 10, 100, 1000]
        assert here.provider.inspect()[0].rejections == 1_000
