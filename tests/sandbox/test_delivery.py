"""Answers arrive whole, or spoiled as the fault says."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from okta_tokens.sandbox import Fault
from tests.sandbox.support import TOKEN, Harness, basic, form, until


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "code"),
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
async def test_a_fault_answers_in_place_of_the_server(
    here: Harness, fault: Fault, status: int, content_type: str, code: bytes
) -> None:
    """A fault with an answer of its own is sent instead, and no token is issued."""
    here.sandbox.fail_next(fault)
    reply = await here.ask()

    assert (reply.status, reply.headers["Content-Type"]) == (status, content_type)
    assert code in reply.body
    assert here.sandbox.tokens_issued == 0
    assert (await here.ask()).status == 200


async def test_a_redirect_names_its_location(here: Harness) -> None:
    """A redirect has the location that the fault was made with."""
    here.sandbox.fail_next(Fault.redirect("http://127.0.0.1:1/x", 307))
    reply = await here.ask()

    assert (reply.status, reply.headers["Location"]) == (307, "http://127.0.0.1:1/x")


async def test_a_drip_sends_the_true_answer_byte_by_byte(here: Harness) -> None:
    """A dripping answer is slow and right."""
    here.sandbox.fail_next(Fault.drip(0.00001))
    reply = await here.ask()

    assert reply.json["token_type"] == "Bearer"
    assert here.sandbox.tokens_issued == 1


async def test_a_client_that_leaves_ends_its_answer(
    here: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever hangs up before the end of an answer is sent no more of it, and that is no error."""
    here.sandbox.fail_next(Fault.drip(0.001))
    url = here.sandbox.origin + TOKEN
    async with here.session.post(url, data=form(), headers=basic()) as response:
        await response.content.readany()
        response.close()
    await until(lambda: here.sandbox.active == 0)

    assert (await here.ask()).status == 200
    assert caplog.messages == []


async def test_a_drop_closes_the_connection_without_an_answer(here: Harness) -> None:
    """A dropped request was judged, recorded without a status, and never answered."""
    here.sandbox.fail_next(Fault.drop())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await here.ask()

    assert here.sandbox.received[-1].status is None
    assert here.sandbox.counts()["token_answers"] == {"dropped": 1}
    assert here.sandbox.tokens_issued == 1


async def test_a_truncated_answer_ends_in_the_middle_of_the_body(here: Harness) -> None:
    """A truncated answer breaks off before its `Content-Length` is reached."""
    here.sandbox.fail_next(Fault.truncate())
    with pytest.raises(aiohttp.ClientPayloadError):
        await here.ask()


@pytest.mark.parametrize("size", [5, 14, 70_000, 16 * 1024 + 14])
async def test_a_huge_body_is_streamed(here: Harness, size: int) -> None:
    """A huge body is valid JSON of the size asked for, sent without a length."""
    here.sandbox.fail_next(Fault.huge(size))
    reply = await here.ask()

    assert len(reply.body) == max(size, 14)
    assert set(reply.json) == {"padding"}
    assert "Content-Length" not in reply.headers


async def test_a_client_that_leaves_before_a_drop_harms_nobody(here: Harness) -> None:
    """A connection that the client has closed already cannot be closed again, and need not."""
    here.sandbox.latency = 0.05
    here.sandbox.fail_next(Fault.drop())
    asking = asyncio.create_task(here.ask())
    await until(lambda: here.sandbox.active == 1)
    asking.cancel()
    await asyncio.wait([asking])
    await until(lambda: here.sandbox.active == 0)

    assert here.sandbox.received[-1].status is None
