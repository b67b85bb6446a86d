"""The benchmark `sign`: its ticker notices a busy loop, and its server counts requests."""

import asyncio
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks import sign
from benchmarks.stub import serve_stub
from okta_tokens import DPoP, PrivateKeyJWT, TokenProvider
from okta_tokens._endpoint.response import Response


async def test_every_tick_of_a_busy_loop_is_late() -> None:
    """Every tick that was due while the loop was busy counts as late, not only the first one."""
    asyncio.get_running_loop().call_later(0.02, time.sleep, 0.05)

    delays = await sign._tick(0.1)

    assert len(delays) == 100
    assert sum(delay > 0.01 for delay in delays) >= 35


@pytest.mark.parametrize("forgetful", [False, True])
async def test_a_client_that_keeps_no_nonce_counts_wrong(
    monkeypatch: pytest.MonkeyPatch, *, forgetful: bool
) -> None:
    """A client that takes nonces only from refusals needs more requests, because nonces expire."""
    nonce_of = Response.dpop_nonce.fget  # type: ignore[attr-defined]  # a property
    if forgetful:
        monkeypatch.setattr(
            Response,
            "dpop_nonce",
            property(lambda self: nonce_of(self) if self.status != 200 else None),
        )
    authentication = PrivateKeyJWT(ec.generate_private_key(ec.SECP256R1()))
    async with serve_stub() as stub, TokenProvider() as provider:
        client = stub.client(authentication, DPoP())
        for number in range(40):
            await provider.get_token(client, f"s{number}")
        requests = await stub.requests()

    assert (requests == 41) is not forgetful
