"""Responses are sent complete, or with the injected fault."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from okta_tokens.sandbox import Fault
from tests.sandbox.support import TOKEN, Harness, basic, form, until


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "expected"),
    [
        (Fault.status(503), 503, "application/json", b'"E0000010"'),
        (Fault.status(500), 500, "application/json", b'"E0000009"'),
        (Fault.status(502, html=True), 502, "text/html; charset=utf-8", b"<h1>"),
        (Fault.html(), 200, "text/html; charset=utf-8", b"<h1>"),
        (Fault.junk(), 200, "application/json", b"\xff"),
        (Fault.empty(204), 204, "application/json", b""),
        (Fault.answer(200, "[]"), 200, "application/json", b"[]"),
        (Fault.refuse(400, "invalid_scope", "No."), 400, "application/json", b"invalid_scope"),
        (Fault.redirect("http://127.0.0.1:1/"), 302, "application/json", b""),
        (Fault.rate_limited(), 429, "application/json", b'"E0000047"'),
    ],
)
async def test_a_fault_with_a_reply_replaces_the_response(
    harness: Harness, fault: Fault, status: int, content_type: str, expected: bytes
) -> None:
    """The reply of a fault is sent instead of the true response, and no token is issued."""
    harness.sandbox.fail_next(fault)
    response = await harness.request_token()

    assert (response.status, response.headers["Content-Type"]) == (status, content_type)
    assert expected in response.body
    assert harness.sandbox.tokens_issued == 0
    assert (await harness.request_token()).status == 200


async def test_a_redirect_names_its_location(harness: Harness) -> None:
    """A redirect has the location of the fault."""
    harness.sandbox.fail_next(Fault.redirect("http://127.0.0.1:1/x", 307))
    response = await harness.request_token()

    assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:1/x")


async def test_a_drip_sends_the_true_response_byte_by_byte(harness: Harness) -> None:
    """A dripping response is slow and complete."""
    harness.sandbox.fail_next(Fault.drip(0.00001))
    response = await harness.request_token()

    assert response.json["token_type"] == "Bearer"
    assert harness.sandbox.tokens_issued == 1


async def test_a_client_that_disconnects_ends_its_response(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """If a client disconnects during the response, sending stops and no error is logged."""
    harness.sandbox.fail_next(Fault.drip(0.001))
    url = harness.sandbox.origin + TOKEN
    async with harness.session.post(url, data=form(), headers=basic()) as response:
        await response.content.readany()
        response.close()
    await until(lambda: harness.sandbox.active == 0)

    assert (await harness.request_token()).status == 200
    assert caplog.messages == []


async def test_a_drop_closes_the_connection_without_a_response(harness: Harness) -> None:
    """A dropped request is handled, recorded without a status, and gets no response."""
    harness.sandbox.fail_next(Fault.drop())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await harness.request_token()

    assert harness.sandbox.received[-1].status is None
    assert harness.sandbox.counts()["token_answers"] == {"dropped": 1}
    assert harness.sandbox.tokens_issued == 1


async def test_a_truncated_response_ends_in_the_middle_of_the_body(harness: Harness) -> None:
    """A truncated response ends before its `Content-Length` is reached."""
    harness.sandbox.fail_next(Fault.truncate())
    with pytest.raises(aiohttp.ClientPayloadError):
        await harness.request_token()


@pytest.mark.parametrize("size", [5, 70_000, 16 * 1024 + 14])
async def test_a_huge_body_is_streamed(harness: Harness, size: int) -> None:
    """A huge body is valid JSON of the size of the fault, sent without a length."""
    harness.sandbox.fail_next(Fault.huge(size))
    response = await harness.request_token()

    assert len(response.body) == max(size, 14)
    assert set(response.json) == {"padding"}
    assert "Content-Length" not in response.headers


async def test_a_client_that_disconnects_before_a_drop_causes_no_error(harness: Harness) -> None:
    """A drop does nothing if the client has already closed the connection."""
    harness.sandbox.latency = 0.05
    harness.sandbox.fail_next(Fault.drop())
    request = asyncio.create_task(harness.request_token())
    await until(lambda: harness.sandbox.active == 1)
    request.cancel()
    await asyncio.wait([request])
    await until(lambda: harness.sandbox.active == 0)

    assert harness.sandbox.received[-1].status is None
