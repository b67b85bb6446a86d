"""The benchmark `cold` over TLS: a worker trusts the server's certificate, and judges no time."""

import ssl
from pathlib import Path

import pytest

from benchmarks import cold
from benchmarks.certificates import write_certificates
from benchmarks.server import serve
from benchmarks.worker import WorkerError, measure_in_worker
from okta_tokens import TokenProvider
from okta_tokens.errors import TransportError

SIZES = {"keys": 20, "rounds": 1}


async def test_fetches_over_tls_have_a_limit_only_for_the_requests() -> None:
    """Over TLS, the count of requests is exact, and no time is judged."""
    figures = await cold._over_tls(**SIZES)

    assert all(figure.name.startswith("over TLS: ") for figure in figures)
    assert [figure.value for figure in figures if figure.limit is not None] == [20]
    assert figures[-1].counted
    assert figures[-1].holds


async def test_the_certificates_are_verified(tmp_path: Path) -> None:
    """Without the authority in SSL_CERT_FILE, no token is fetched over TLS."""
    _, certificate = write_certificates(tmp_path)
    async with serve(certificate=str(certificate)) as server, TokenProvider() as provider:
        assert server.origin.startswith("https://127.0.0.1:")
        with pytest.raises(TransportError, match="certificate"):
            await provider.get_token(server.client(), "s0")
    with pytest.raises(WorkerError, match="certificate"):
        await measure_in_worker("cold", SIZES | {"certificate": str(certificate)})


def test_a_strict_client_accepts_the_authority(tmp_path: Path) -> None:
    """The authority's certificate loads, and its file holds no private key."""
    authority, certificate = write_certificates(tmp_path)

    assert len(ssl.create_default_context(cafile=authority).get_ca_certs()) == 1
    assert b"PRIVATE KEY" not in authority.read_bytes()
    assert certificate.stat().st_mode & 0o077 == 0
