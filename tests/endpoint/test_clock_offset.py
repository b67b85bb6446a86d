"""The clock offset of a domain: which responses teach it, and when a new one counts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from okta_tokens import DPoP, PrivateKeyJWT, RetryPolicy
from okta_tokens._endpoint.clock_offset import MAX_STEP, ClockOffset, estimated_offset
from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._runtime.clock import Instant
from okta_tokens.errors import FetchError
from okta_tokens.events import ClockDiffers
from okta_tokens.sandbox import Fault, SandboxClient
from tests.keys import ec_key, public_jwk
from tests.support import CLIENT_ID, SCOPES, World, world

YEAR = 365 * 86_400.0

FOREIGN = {
    "an HTML page": (503, b"<html><body>Unavailable</body></html>"),
    "an HTML page, 502": (502, b"<html>Bad Gateway</html>"),
    "a text": (504, b"upstream request timeout"),
    "no body": (503, b""),
    "JSON of a gateway": (503, b'{"message":"Service Unavailable"}'),
    "JSON of a framework": (500, b'{"status":500,"error":"Internal Server Error"}'),
    "a number as the error": (500, b'{"error":500}'),
    "a number as the code": (500, b'{"errorCode":9}'),
    "another code": (503, b'{"errorCode":"503"}'),
    "a list": (503, b'[{"errorCode":"E0000009"}]'),
    "no UTF-8": (503, b'\xff{"errorCode":"E0000009"}'),
    "a long body": (503, b'{"errorCode":"E0000009","x":"' + b"x" * MAX_BODY + b'"}'),
}
"""Responses of a middlebox: status and body. None has an `X-Okta-Request-Id`."""

OKTAS = {
    "an OAuth error": (400, b'{"error":"invalid_scope"}'),
    "a management error": (503, b'{"errorCode":"E0000009","errorSummary":"x"}'),
    "a token of another type": (200, b'{"access_token":"t","token_type":"mac"}'),
}
"""Responses of Okta: status and body."""


def response(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return a response."""
    return Response(status, CIMultiDict(headers or {}), body, Instant(0.0, 0.0), 0.0)


# When a new offset counts


def test_the_first_offset_counts() -> None:
    """The first offset of a domain counts, however large it is."""
    offset = ClockOffset()
    assert offset.seconds == 0
    offset.learn(YEAR, refused_for_time=False)

    assert offset.seconds == YEAR


def test_a_small_step_counts_at_once() -> None:
    """An offset that differs by no more than a minute counts at once."""
    offset = ClockOffset()
    for seconds in (100.0, 160.0, 100.0, 40.0):
        offset.learn(seconds, refused_for_time=False)
        assert offset.seconds == seconds


@pytest.mark.parametrize("step", [-YEAR, -61.0, 61.0, YEAR])
def test_a_large_step_counts_when_the_next_response_agrees(step: float) -> None:
    """An offset that differs by more than a minute counts if the next one is within a minute."""
    offset = ClockOffset()
    offset.learn(0.0, refused_for_time=False)
    offset.learn(step, refused_for_time=False)
    assert offset.seconds == 0
    offset.learn(step + 60, refused_for_time=False)

    assert offset.seconds == step + 60


def test_large_steps_that_do_not_agree_never_count() -> None:
    """Two offsets that differ from each other, or with a good one between them, do not count."""
    offset = ClockOffset()
    offset.learn(0.0, refused_for_time=False)
    for seconds in (YEAR, -YEAR, YEAR, 61.0, 3.0, YEAR, 3.0, YEAR):
        offset.learn(seconds, refused_for_time=False)
        assert abs(offset.seconds) <= 3


def test_a_refusal_for_time_counts_at_once() -> None:
    """The offset of a refusal for time counts, and needs two others to change again."""
    offset = ClockOffset()
    offset.learn(0.0, refused_for_time=False)
    offset.learn(YEAR, refused_for_time=True)
    assert offset.seconds == YEAR
    offset.learn(0.0, refused_for_time=False)
    assert offset.seconds == YEAR
    offset.learn(0.0, refused_for_time=False)

    assert offset.seconds == 0


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_only_agreement_moves_the_offset_far(steps: list[float]) -> None:
    """Without a refusal, an offset moves by more than a minute only if two in a row agree."""
    offset = ClockOffset()
    before = steps[0]
    offset.learn(before, refused_for_time=False)
    for last, seconds in pairwise(steps):
        offset.learn(seconds, refused_for_time=False)
        moved = abs(offset.seconds - before) > MAX_STEP
        assert not moved or abs(seconds - last) <= MAX_STEP
        assert offset.seconds in (before, seconds)
        before = offset.seconds


# Which responses are Okta's


@pytest.mark.parametrize("name", FOREIGN)
def test_a_response_of_a_middlebox_is_recognized(name: str) -> None:
    """A response without Okta's fields and without a request id is not Okta's."""
    status, body = FOREIGN[name]
    assert not response(status, body).is_oktas()
    assert not response(status, body, {"X-Okta-Request-Id": "not an id"}).is_oktas()


@pytest.mark.parametrize("name", OKTAS)
def test_a_response_of_okta_is_recognized(name: str) -> None:
    """A response with a field of Okta's is Okta's."""
    assert response(*OKTAS[name]).is_oktas()


def test_a_request_id_shows_that_a_response_is_oktas() -> None:
    """A response without JSON is Okta's if it has a request id and is no server error."""
    headers = {"X-Okta-Request-Id": "abc123"}
    assert response(200, b"", headers).is_oktas()
    assert response(403, b"<html>", headers).is_oktas()
    assert response(499, b"<html>", headers).is_oktas()
    assert not response(500, b"<html>", headers).is_oktas()


def test_a_request_id_that_is_not_shown_counts() -> None:
    """A request id shows that a response is Okta's, also if a test secret is a part of it."""
    withheld = replace(response(200, b"", {"X-Okta-Request-Id": "abc123"}), secrets=["abc"])

    assert withheld.request_id("a-token-of-20-letters") is None
    assert withheld.is_oktas()


# What the responses teach


def dated(
    here: World,
    answer: tuple[int, bytes],
    seconds: float,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Fault:
    """Return a response whose `Date` is a number of seconds ahead of the clock."""
    status, body = answer
    date = formatdate(here.clock.wall + seconds, usegmt=True)
    all_headers = {"X-Okta-Request-Id": "", "Date": date, **headers}
    return Fault.answer(status, body, content_type="text/html", headers=all_headers)


async def fail(here: World, *scopes: str) -> None:
    """Request tokens that are refused."""
    for each in scopes:
        with pytest.raises(FetchError):
            await here.source(each).get_token()


def known_offset(here: World) -> float:
    """Return the clock offset of the only domain."""
    (seconds,) = here.provider.stats().clock_offsets.values()
    return seconds


ONE_ATTEMPT = RetryPolicy(attempts=1)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("known", [False, True])
async def test_a_middlebox_teaches_no_offset_and_no_nonce(name: str, *, known: bool) -> None:
    """However often a middlebox responds, proofs for APIs are dated as before."""
    async with world(dpop=DPoP(ec_key()), retry=ONE_ATTEMPT) as here:
        if known:
            await here.source("a").get_token()
        page = dated(here, FOREIGN[name], YEAR, {"DPoP-Nonce": "forged"})
        here.sandbox.fail_next(page, page, page)
        await fail(here, "b", "c", "a b")

        assert abs(known_offset(here)) <= 2
        endpoint = here.provider._registry.endpoint(here.source("a").key)
        assert "forged" not in endpoint._nonces.values()


@pytest.mark.parametrize("name", OKTAS)
async def test_an_offset_far_from_the_present_one_needs_a_second_response(name: str) -> None:
    """One response of Okta does not move the offset by more than a minute, two do."""
    async with world(retry=ONE_ATTEMPT) as here:
        await here.source("a").get_token()
        far = dated(here, OKTAS[name], YEAR)
        here.sandbox.fail_next(far, dated(here, OKTAS[name], 0), far, far)
        await fail(here, "b", "c", "a b")
        assert abs(known_offset(here)) <= 2
        await fail(here, "a c")

        assert known_offset(here) == pytest.approx(YEAR, abs=2)


async def test_a_page_between_two_responses_of_okta_does_not_matter() -> None:
    """Two responses of Okta in a row may have a page of a middlebox between them."""
    async with world(retry=ONE_ATTEMPT) as here:
        await here.source("a").get_token()
        far = dated(here, OKTAS["an OAuth error"], YEAR)
        here.sandbox.fail_next(far, dated(here, (503, b"<html>"), 0), far)
        await fail(here, "b", "c", "a b")

        assert known_offset(here) == pytest.approx(YEAR, abs=2)


@pytest.mark.parametrize("offset", [-7_200.0, 7_200.0])
async def test_the_date_of_a_refusal_for_time_counts_at_once(offset: float) -> None:
    """If a clock changes by hours, a refused assertion is signed again with the right date."""
    app = SandboxClient(CLIENT_ID, keys=[public_jwk(ec_key())], scopes=SCOPES)
    async with world(app=app, authentication=PrivateKeyJWT(ec_key())) as here:
        await here.source("a").get_token()
        here.sandbox.date_offset = offset
        await here.source("b").get_token()
        assert here.sandbox.token_requests == 3
        assert known_offset(here) == pytest.approx(offset, abs=2)


@pytest.mark.parametrize("offset", [-7_200.0, 7_200.0])
async def test_the_date_of_a_refused_proof_counts_at_once(offset: float) -> None:
    """If a clock changes by hours, a refused proof is signed again with the right date."""
    async with world(dpop=DPoP(ec_key())) as here:
        await here.source("a").get_token()
        here.sandbox.date_offset = offset
        await here.source("b").get_token()

        assert known_offset(here) == pytest.approx(offset, abs=2)


async def test_the_pause_of_a_429_is_measured_by_its_own_date() -> None:
    """A 429 whose `Date` does not count yet pauses the domain by that `Date`."""
    async with world(retry=RetryPolicy(attempts=1, max_wait=5)) as here:
        await here.source("a").get_token()
        body = json.dumps({"errorCode": "E0000047"}).encode()
        reset = str(int(here.clock.wall + YEAR) + 30)
        here.sandbox.fail_next(dated(here, (429, body), YEAR, {"X-Rate-Limit-Reset": reset}))
        await fail(here, "b")

        key = here.source("b").key
        pause = here.provider._registry.endpoint(key).pauses.end(key) - here.clock.boot
        assert pause == pytest.approx(31, abs=2)
        assert abs(known_offset(here)) <= 2


# What a response tells


@pytest.mark.parametrize(
    ("server_time", "offset"),
    [
        (99.0, 0.0),
        (100.0, 0.0),
        (104.5, 0.0),
        (109.0, 0.0),
        (110.0, 0.0),
        (98.9, -5.6),
        (110.1, 5.6),
        (704.5, 600.0),
    ],
)
def test_the_time_that_a_response_takes_is_no_offset(server_time: float, offset: float) -> None:
    """Clocks that may agree do agree: the server reads its clock at some moment of the exchange."""
    assert estimated_offset(server_time, 100.0, 109.0) == pytest.approx(offset)


async def test_a_wrong_clock_is_told_once_until_it_is_right_again() -> None:
    """A clock that differs by more than 30 s makes one event, whatever the number of responses."""
    async with world() as here:
        for offset in (20, 600, 605, 0, 0, -45, -45):
            here.sandbox.date_offset = offset
            await here.source("a").refresh()
        await here.quiet()

        told = [(event.domain, round(event.seconds)) for event in here.seen(ClockDiffers)]
        assert told == [(here.client.domain, 605), (here.client.domain, -45)]
