"""What is asked of signatures: the ticker that notices a busy loop, the stub that counts."""

import asyncio
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks import sign
from benchmarks.stub import serve_stub
from okta_tokens import DPoP, PrivateKeyJWT, TokenProvider
from okta_tokens._endpoint.response import Response


async def test_a_late_tick_makes_those_late_that_it_holds_up() -> None:
    """Whoever wanted to run while the loop was busy counts, not only the one that came first."""
    asyncio.get_running_loop().call_later(0.02, time.sleep, 0.05)

    late = await sign._tick(0.1)

    assert len(late) == 100
    assert sum(lateness > 0.01 for lateness in late) >= 35


@pytest.mark.parametrize("forgetful", [False, True])
async def test_a_client_that_keeps_no_nonce_counts_wrong(
    monkeypatch: pytest.MonkeyPatch, *, forgetful: bool
) -> None:
    """A nonce soon gets old: who takes them from refusals only is refused again and again."""
    nonce_of = Response.dpop_nonce.fget  # type: ignore[attr-defined]  # a property
    if forgetful:
        monkeypatch.setattr(
            Response, "dpop_nonce", property(lambda it: nonce_of(it) if it.status != 200 else None)
        )
    authentication = PrivateKeyJWT(ec.generate_private_key(ec.SECP256R1()))
    async with serve_stub() as stub, TokenProvider() as provider:
        client = stub.client(authentication, DPoP())
        for number in range(40):
            await provider.get_token(client, f"s{number}")
        requests = await stub.requests()

    assert (requests == 41) is not forgetful
