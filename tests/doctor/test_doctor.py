"""The whole diagnosis, on real sockets, for every failure between this machine and Okta."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from aiohttp import ClientSession, TCPConnector

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    TokenRequest,
    __version__,
    doctor,
)
from okta_tokens.doctor import _doctor, check_names
from okta_tokens.doctor._connection import Resolver, look_up
from okta_tokens.doctor._diagnosis import Outcome, Result
from okta_tokens.doctor._doctor import Doctor, scope_sets
from okta_tokens.errors import ConfigurationError
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.stores import TokenStore
from tests.doctor.servers import (
    LOOPBACK,
    Handler,
    close,
    listening,
    respond_with,
    server_context,
    stay_silent,
)
from tests.keys import ec_key
from tests.support import until

CLIENT_ID = "0oaclient"
SECRET = "Canary-Secret-9f1b3d5a7c2e4f6a8b0d"
APP = SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "b", "c", "okta.users.read"])
OTHER_APP = SandboxClient("0oaother", [SECRET], scopes=["d"])
DAY = timedelta(days=1)
NOW = datetime.now(UTC)

PASS, WARN, FAIL, SKIP = Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.SKIP


class Results(dict[str, Result]):
    """Results by name, and the number of token requests."""

    requests = 0

    def outcomes(self, *names: str) -> list[Outcome]:
        """Return the outcomes of some checks."""
        return [self[name].outcome for name in names]

    def skip_reasons(self) -> set[str]:
        """Return the reasons of skipped checks."""
        return {result.detail for result in self.values() if result.outcome is SKIP}


async def diagnose(
    origin: str,
    scopes: str = "a",
    *,
    authentication: ClientAuthentication | None = None,
    server: str | None = "default",
    dpop: bool = False,
    step_timeout: float = 5.0,
    resolver: Resolver = look_up,
) -> Results:
    """Run all checks; fail unless each check has one result, in the order of `check_names`."""
    reported: list[Result] = []
    client = OktaClient(
        origin,
        CLIENT_ID,
        authentication or ClientSecretBasic(SECRET),
        authorization_server=server,
        dpop=DPoP() if dpop else None,
    )
    run = Doctor(
        client,
        scopes,
        step_timeout=step_timeout,
        on_result=reported.append,
        resolver=resolver,
    )
    diagnosis = await run.run()

    assert [result.name for result in reported] == check_names(scopes)
    assert diagnosis.results == tuple(reported)
    assert SECRET not in repr(diagnosis)
    results = Results({result.name: result for result in reported})
    results.requests = diagnosis.token_requests
    return results


# No problems


async def test_no_problems() -> None:
    """Without problems each check passes, after one request for each scope and one for all."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(okta.origin, "a b")

    assert {result.outcome for result in results.values()} == {PASS, SKIP}
    assert results.skip_reasons() == {"plain http, which is allowed for this machine only"}
    assert results.requests == 3
    assert [request.scopes for request in okta.received] == [("a",), ("b",), ("a", "b")]


@pytest.mark.parametrize(
    ("scopes", "names"),
    [
        ("", ["default scopes"]),
        ("a", ["scope a"]),
        (" a  a ", ["scope a"]),
        ("b a", ["scope b", "scope a", "all scopes"]),
    ],
)
def test_each_scope_is_requested_once(scopes: str, names: list[str]) -> None:
    """Each scope is requested once, in the given order; then all scopes if there are several."""
    assert [*scope_sets(scopes)] == names


async def test_default_scopes_are_requested() -> None:
    """Without scopes one request shows the server's default scopes."""
    async with Sandbox([APP], default_scopes=["b", "a"]) as okta:
        results = await diagnose(okta.origin, "")

    assert results["default scopes"].detail == "granted: a b"
    assert results.requests == 1


async def test_the_first_request_holds_no_credential() -> None:
    """The first request is for a public document, and does not accept a cached response."""
    heads: list[str] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await respond_with()(reader, writer)

    async with listening(record) as port:
        await diagnose(f"http://{LOOPBACK}:{port}", step_timeout=0.3)
    get, post = heads

    assert get.startswith("GET /.well-known/openid-configuration ")
    assert "\r\nCache-Control: no-cache\r\n" in get
    assert f"\r\nUser-Agent: okta-tokens/{__version__}\r\n" in get
    assert "Authorization" not in get
    assert "\r\nAuthorization: Basic " in post
    assert all("\r\nConnection: close\r\n" in head for head in heads)


# DNS and TCP


def find_no_address(_host: str, _port: int) -> list[str]:
    """Fail like a resolver that finds no address."""
    raise OSError("Name or service not known")


async def test_an_unknown_name_fails() -> None:
    """A name without an address fails, and all later checks are skipped for that reason."""
    results = await diagnose("https://nowhere.localhost", resolver=find_no_address)

    assert results["dns"].detail == "nowhere.localhost has no address: Name or service not known"
    assert results.skip_reasons() == {"dns failed"}
    assert results.outcomes("dns", "tcp", "rate limit") == [FAIL, SKIP, SKIP]
    assert results.requests == 0


async def test_a_hanging_look_up_times_out() -> None:
    """A look-up that hangs times out, and its late result is ignored."""
    over = threading.Event()

    def hang(_host: str, _port: int) -> list[str]:
        over.wait(20)
        return []

    began = time.monotonic()
    results = await diagnose("https://nowhere.localhost", step_timeout=0.05, resolver=hang)
    duration = time.monotonic() - began
    over.set()
    await asyncio.sleep(0.01)  # the late result arrives

    assert results["dns"].detail == "nowhere.localhost has no address: timed out"
    assert duration < 5


def test_a_look_up_may_outlast_the_loop() -> None:
    """A look-up that ends after the event loop is no error."""
    over, ended = threading.Event(), threading.Event()

    def hang(_host: str, _port: int) -> list[str]:
        over.wait(20)
        threading.Timer(0.05, ended.set).start()
        return []

    asyncio.run(diagnose("https://nowhere.localhost", step_timeout=0.05, resolver=hang))
    over.set()

    assert ended.wait(5)


async def test_the_system_resolves_names() -> None:
    """The system resolves names, and each address is reported once."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(f"http://localhost:{okta.port}")

    assert results["dns"].detail.startswith("localhost is ")
    assert LOOPBACK in results["dns"].detail
    assert results.outcomes("tcp", "scope a") == [PASS, PASS]


async def test_a_closed_port_fails() -> None:
    """A port without a listener fails with the system's message."""
    async with listening(close) as port:
        pass
    results = await diagnose(f"https://{LOOPBACK}:{port}")

    assert results["tcp"].detail == f"no connection to {LOOPBACK}:{port}: Connection refused"
    assert results.skip_reasons() == {"tcp failed"}


@pytest.mark.parametrize("addresses", [["::ffff:1", LOOPBACK], [LOOPBACK, "::ffff:1"]])
async def test_one_address_of_several_is_enough(addresses: list[str]) -> None:
    """If one address does not accept a connection, another one is tried."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(okta.origin, resolver=lambda *_: addresses)

    assert results.outcomes("dns", "tcp", "scope a") == [PASS, PASS, PASS]


async def test_a_name_of_this_machine_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By plain http, `localhost` and the names under it are reached without a look-up."""

    def find_no_address(host: str, *_: object, **__: object) -> list[str]:
        raise OSError(f"{host} is unknown")

    async with Sandbox([APP]) as okta:
        monkeypatch.setattr(socket, "getaddrinfo", find_no_address)
        origin = okta.origin.replace(LOOPBACK, "okta.localhost")
        results = await diagnose(origin, resolver=find_no_address)

    assert results["dns"].detail == "okta.localhost is 127.0.0.1, ::1"
    assert results.outcomes("dns", "tcp", "clock", "scope a") == [PASS, PASS, PASS, PASS]


async def test_a_silent_server_fails_at_the_endpoint() -> None:
    """A server that sends nothing fails the endpoint check, and its time is unknown."""
    async with listening(stay_silent) as port:
        results = await diagnose(f"http://{LOOPBACK}:{port}", step_timeout=0.2)

    assert results["clock"].detail == "no response that holds Okta's time: timed out"
    assert results["endpoint"].outcome is FAIL
    assert results["endpoint"].detail == f"no response from http://{LOOPBACK}:{port} within 0.2 s"
    assert results["rate limit"].detail == "endpoint failed"
    assert results.requests == 1


async def test_a_hanging_connection_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is never established times out."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(_doctor, "connect", hang)
    results = await diagnose(f"https://{LOOPBACK}:1", step_timeout=0.05)

    assert results["tcp"].detail == f"no connection to {LOOPBACK}:1: timed out"


@pytest.mark.parametrize(("offset", "outcome"), [(0.0, PASS), (-10.0, WARN), (120.0, FAIL)])
async def test_the_clock_is_compared(offset: float, outcome: Outcome) -> None:
    """The clock is compared with Okta's `Date`; tokens are requested even if it is wrong."""
    async with Sandbox([APP]) as okta:
        okta.date_offset = offset
        results = await diagnose(okta.origin)

    assert results["clock"].outcome is outcome
    assert results["scope a"].outcome is PASS


# TLS


@pytest.fixture
async def _no_debug() -> None:
    """Switch debug mode off, in which the loop reports each handshake that a client aborts."""
    asyncio.get_running_loop().set_debug(False)


@pytest.fixture
def authority(_no_debug: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Return a certificate authority that this machine trusts."""
    authority = trustme.CA(organization_name="ours")
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return authority


async def test_a_trusted_certificate_passes(authority: trustme.CA) -> None:
    """The result names the TLS version, the issuer and the remaining days."""
    leaf = authority.issue_cert(LOOPBACK, not_before=NOW - DAY, not_after=NOW + 99.5 * DAY)
    async with Sandbox([APP], ssl_context=server_context(leaf)) as okta:
        results = await diagnose(okta.origin)

    assert results["tls"].outcome is PASS
    assert results["tls"].detail == (
        "TLSv1.3; the certificate was issued by ours, and is valid for 99 more days"
    )
    assert results["scope a"].outcome is PASS


async def test_a_certificate_that_expires_soon_is_a_warning(authority: trustme.CA) -> None:
    """A certificate in its last days is a warning, and later checks still run."""
    leaf = authority.issue_cert(LOOPBACK, not_before=NOW - 90 * DAY, not_after=NOW + 3 * DAY)
    async with Sandbox([APP], ssl_context=server_context(leaf)) as okta:
        results = await diagnose(okta.origin)

    assert results.outcomes("tls", "scope a") == [WARN, PASS]


@pytest.mark.parametrize(
    ("host", "begin", "end", "why"),
    [
        (LOOPBACK, -2 * DAY, -DAY, "certificate has expired"),
        (LOOPBACK, DAY, 2 * DAY, "certificate is not yet valid"),
        ("acme.okta.com", -DAY, DAY, "IP address mismatch"),
    ],
)
async def test_an_invalid_certificate_fails(
    authority: trustme.CA, host: str, begin: timedelta, end: timedelta, why: str
) -> None:
    """A server with an expired or foreign certificate gets no credential."""
    leaf = authority.issue_cert(host, not_before=NOW + begin, not_after=NOW + end)
    async with Sandbox([APP], ssl_context=server_context(leaf)) as okta:
        results = await diagnose(okta.origin)

    assert results["tls"].outcome is FAIL
    assert why in results["tls"].detail
    assert results.skip_reasons() == {"tls failed"}
    assert okta.token_requests == 0


@pytest.mark.usefixtures("_no_debug")
async def test_an_unknown_authority_fails() -> None:
    """A certificate of an unknown authority fails, and the remedy names SSL_CERT_FILE."""
    leaf = trustme.CA().issue_cert(LOOPBACK)
    async with Sandbox([APP], ssl_context=server_context(leaf)) as okta:
        results = await diagnose(okta.origin)

    assert results["tls"].outcome is FAIL
    assert "unable to get local issuer certificate" in results["tls"].detail
    assert "SSL_CERT_FILE" in (results["tls"].remedy or "")


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (stay_silent, "timed out"),
        (close, "failed: "),
        (respond_with("Date: x"), "failed: "),
    ],
    ids=["silent", "closed", "plain http"],
)
async def test_a_port_without_tls_fails(handler: Handler, why: str) -> None:
    """A handshake that is aborted or never ends fails."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if why == "failed: " and handler is not close:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        else:
            await handler(reader, writer)

    async with listening(serve) as port:
        results = await diagnose(f"https://{LOOPBACK}:{port}", step_timeout=0.3)

    assert results["tls"].outcome is FAIL
    assert results["tls"].detail.startswith(f"the TLS handshake with {LOOPBACK}:{port} {why}")


async def test_the_certificate_is_checked_without_a_response(authority: trustme.CA) -> None:
    """The certificate is checked even if the server sends nothing after the handshake."""
    leaf = authority.issue_cert(LOOPBACK)
    async with listening(stay_silent, server_context(leaf)) as port:
        results = await diagnose(f"https://{LOOPBACK}:{port}", step_timeout=0.3)

    assert results.outcomes("tls", "clock", "endpoint") == [PASS, SKIP, FAIL]


# Proxies


@asynccontextmanager
async def proxying(target: int, status: int = 200) -> AsyncIterator[tuple[int, list[str]]]:
    """Run a proxy that tunnels to a local port; yield its port and the request lines it gets."""
    request_lines: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request_lines.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        writer.write(f"HTTP/1.1 {status} X\r\n\r\n".encode())
        if status == 200:
            upstream = await asyncio.open_connection(LOOPBACK, target)
            await asyncio.gather(
                pump(reader, upstream[1]), pump(upstream[0], writer), return_exceptions=True
            )

    async with listening(handle) as port:
        yield port, request_lines


async def test_a_proxy_is_used(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `HTTPS_PROXY` the checks connect to the proxy, and check Okta's TLS through it."""
    leaf = authority.issue_cert("acme.okta.com")
    async with (
        Sandbox([APP], ssl_context=server_context(leaf)) as okta,
        proxying(okta.port) as (port, request_lines),
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw-canary@{LOOPBACK}:{port}")
        results = await diagnose("https://acme.okta.com")

    assert results["tcp"].detail.startswith(f"connected to {LOOPBACK}:{port}, the proxy in ")
    assert results.outcomes("tls", "clock", "endpoint", "scope a") == [PASS] * 4
    assert {*request_lines} == {"CONNECT acme.okta.com:443 HTTP/1.1"}
    assert "pw-canary" not in repr(results)


async def test_a_refusing_proxy_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses is reported with its status and without its password."""
    async with proxying(0, status=403) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw-canary@{LOOPBACK}:{port}")
        results = await diagnose("https://acme.okta.com")

    assert results["tls"].detail == "the proxy refused the connection to acme.okta.com (403)"
    assert results.skip_reasons() == {"tls failed"}
    assert "pw-canary" not in repr(results)


async def test_an_invalid_proxy_url_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `HTTPS_PROXY` that cannot be used fails before any look-up."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:port")
    results = await diagnose("https://acme.okta.com", resolver=find_no_address)

    assert results["dns"].detail == "HTTPS_PROXY: it is not the URL of a proxy"


# Okta's responses


async def test_an_outage_fails_the_endpoint() -> None:
    """A 503 fails the endpoint check, and no further request is sent."""
    async with Sandbox([APP]) as okta:
        okta.fault = Fault.status(503)
        results = await diagnose(okta.origin, "a b")

    assert results["endpoint"].detail.startswith("the server responded 503")
    assert (results["endpoint"].remedy or "").endswith("try again later")
    assert "endpoint failed" in results.skip_reasons()
    assert results.requests == 1


async def test_html_fails_the_endpoint() -> None:
    """A response that is not Okta's JSON (a portal, a firewall) fails the endpoint check."""
    async with Sandbox([APP]) as okta:
        okta.fault = Fault.html()
        results = await diagnose(okta.origin)

    assert results["endpoint"].outcome is FAIL
    assert "not Okta's JSON" in results["endpoint"].detail


async def test_an_unknown_authorization_server_fails_the_endpoint() -> None:
    """A wrong authorization server is not reported as a wrong client."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(okta.origin, server="ausNone")

    assert results["endpoint"].outcome is FAIL
    assert "OKTA_CLIENT_AUTHORIZATIONSERVER" in (results["endpoint"].remedy or "")
    assert results["authentication"].outcome is SKIP


async def test_a_wrong_secret_fails_the_authentication() -> None:
    """A refused client is reported in Okta's words, and no further scope is requested."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(
            okta.origin, "a b", authentication=ClientSecretBasic("Canary-Wrong-4f6a8b0d")
        )

    assert results["endpoint"].outcome is PASS
    assert results["authentication"].outcome is FAIL
    assert results["authentication"].detail.startswith(
        "client_secret_basic: The client secret supplied for a confidential client is invalid (401 "
        "invalid_client, request id "
    )
    assert results["scope a"].detail == "authentication failed"
    assert results["rate limit"].outcome is PASS
    assert results.requests == 1
    assert "Canary" not in repr(results)


async def test_a_secret_at_the_org_server_has_a_remedy() -> None:
    """A secret at the org authorization server, the usual mistake, has its own remedy."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(okta.origin, "okta.users.read", server=None)

    assert results["authentication"].outcome is FAIL
    assert "accepts only PrivateKeyJWT" in (results["authentication"].remedy or "")


async def test_an_unregistered_key_fails_the_authentication() -> None:
    """A key of an app that has a secret fails as `private_key_jwt`."""
    async with Sandbox([APP]) as okta:
        results = await diagnose(okta.origin, authentication=PrivateKeyJWT(ec_key()))

    assert results["authentication"].outcome is FAIL
    assert results["authentication"].detail.startswith("private_key_jwt: ")


async def test_a_missing_credential_sends_no_request() -> None:
    """Without a credential no token request is sent."""

    def vault() -> str:
        raise LookupError("sealed")

    async with Sandbox([APP]) as okta:
        results = await diagnose(okta.origin, authentication=ClientSecretBasic(vault))

    assert results.outcomes("endpoint", "authentication", "scope a") == [SKIP, FAIL, SKIP]
    assert results["rate limit"].detail == "no response named a limit"
    assert (results.requests, okta.token_requests) == (0, 0)


async def test_each_scope_is_checked_by_itself() -> None:
    """A refused scope hides no other one, and all scopes together are always requested."""
    async with Sandbox([APP, OTHER_APP]) as okta:
        results = await diagnose(okta.origin, "x a d b")

    assert results.outcomes("authentication", "scope a", "scope b") == [PASS] * 3
    assert "400 invalid_scope" in results["scope x"].detail
    assert "400 access_denied" in results["scope d"].detail
    assert results["all scopes"].outcome is FAIL
    assert results["lifetime"].outcome is PASS
    assert results.requests == 5


async def test_different_lifetimes_are_a_warning() -> None:
    """If lifetimes differ, the result names the lifetime of each set of scopes."""
    async with Sandbox([APP], lifetimes={"a": 600, "b a": 100}) as okta:
        results = await diagnose(okta.origin, "a b")

    assert results["lifetime"].outcome is WARN
    assert results["lifetime"].detail == "scope a 600 s, scope b 3600 s, all scopes 100 s"


async def test_a_429_ends_the_requests() -> None:
    """After a 429 no further request is sent, and the unknown results are skipped."""
    async with Sandbox([APP]) as okta:
        okta.fault = Fault.rate_limited(40)
        results = await diagnose(okta.origin, "a b")

    assert results.outcomes("endpoint", "authentication", "scope a") == [PASS, SKIP, SKIP]
    assert results["scope b"].detail == "rate limit failed"
    assert results["rate limit"].outcome is FAIL
    assert results["rate limit"].detail.startswith("Okta responded 429: too many requests in its")
    assert "; the window ends in " in results["rate limit"].detail
    assert results.requests == 1


async def test_results_before_a_429_count() -> None:
    """The results before a 429 count, including the lifetime."""
    async with Sandbox([APP], rate_limit=1) as okta:
        results = await diagnose(okta.origin, "a b c")

    assert results.outcomes("scope a", "scope b", "scope c") == [PASS, SKIP, SKIP]
    assert results["scope b"].detail == "not known: the rate limit was reached first"
    assert results["all scopes"].detail == "rate limit failed"
    assert results.outcomes("lifetime", "dpop", "rate limit") == [PASS, PASS, FAIL]
    assert results.requests == 2


async def test_few_remaining_requests_are_a_warning() -> None:
    """If less than a fifth of the window's requests are left, the result is a warning."""
    async with Sandbox([APP], rate_limit=6) as okta:
        for _ in range(4):
            await diagnose(okta.origin)
        results = await diagnose(okta.origin)

    assert results["rate limit"].outcome is WARN
    assert results["rate limit"].detail.startswith("1 of 6 requests are left, and the window ends")


async def test_a_server_that_is_not_okta() -> None:
    """Without a date the clock check is skipped; without JSON the endpoint check fails."""
    async with listening(respond_with()) as port:
        results = await diagnose(f"http://{LOOPBACK}:{port}")

    assert results["clock"].detail == "no response that holds Okta's time: it has no Date header"
    assert results["endpoint"].detail == "the response (200) is invalid: it is not Okta's JSON"


async def test_an_outage_fails_a_later_scope() -> None:
    """A 503 after the first request fails the scope's check and ends the requests."""
    async with Sandbox([APP]) as okta:
        okta.on_request = lambda _: okta.fail_next(Fault.status(503))
        results = await diagnose(okta.origin, "a b c")

    assert results.outcomes("scope a", "scope b", "scope c") == [PASS, FAIL, SKIP]
    assert results["scope c"].detail == "scope b failed"


# Proofs


@pytest.fixture
def bound_app() -> SandboxClient:
    """Return an app that requires proofs."""
    return SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "b"], dpop=True)


async def test_a_client_with_dpop_gets_bound_tokens(bound_app: SandboxClient) -> None:
    """A client with a DPoP key gets bound tokens; the nonce needs one more request."""
    async with Sandbox([bound_app]) as okta:
        results = await diagnose(okta.origin, "a b", dpop=True)

    assert results["dpop"].detail == "tokens are bound to the client's key"
    assert results.requests == 4


async def test_missing_proofs_hide_no_other_problem(bound_app: SandboxClient) -> None:
    """If the client makes no proofs, the dpop check fails and the other checks still run."""
    async with Sandbox([bound_app]) as okta:
        results = await diagnose(okta.origin, "a x b")

    assert results["dpop"].outcome is FAIL
    assert "The DPoP proof JWT header is missing" in results["dpop"].detail
    assert results.outcomes("authentication", "scope a", "scope x") == [PASS, PASS, FAIL]
    assert results["lifetime"].outcome is PASS
    # a without a proof, a without a nonce, a, x, b, all
    assert results.requests == 6


async def test_missing_proofs_without_the_extra(
    bound_app: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the doctor cannot make proofs, and the remedy says how to install it."""
    monkeypatch.setitem(sys.modules, "okta_tokens._auth.keys", None)
    async with Sandbox([bound_app]) as okta:
        results = await diagnose(okta.origin)

    assert results.outcomes("endpoint", "authentication", "dpop") == [PASS, SKIP, FAIL]
    assert results["scope a"].detail == "dpop failed"
    assert "okta-tokens[jwt]" in (results["dpop"].remedy or "")
    assert results.requests == 1


def test_proofs_of_the_doctor_change_nothing_else() -> None:
    """The client with which the doctor makes proofs differs only in its DPoP key."""
    client = OktaClient(
        "http://okta.internal",
        CLIENT_ID,
        ClientSecretBasic(SECRET),
        authorization_server="aus1",
        parameters={"resource": "https://api.acme.com"},
        allow_http=True,
    )
    bound = _doctor._with_dpop(client)

    assert bound.dpop is not None
    for name in client.__slots__:
        assert name == "dpop" or getattr(bound, name) == getattr(client, name)


async def test_a_refused_proof_fails(bound_app: SandboxClient) -> None:
    """A refused proof is reported in Okta's words."""
    async with Sandbox([bound_app]) as okta:
        okta.fault = Fault.refuse(400, "invalid_dpop_proof", "The htu claim is invalid.")
        results = await diagnose(okta.origin, dpop=True)

    assert results["dpop"].outcome is FAIL
    assert results["dpop"].detail.startswith("The htu claim is invalid (400 invalid_dpop_proof")
    assert results["scope a"].detail == "dpop failed"


# Latency


async def test_the_latency_is_measured() -> None:
    """The slowest token response counts, whether it is a token or a refusal."""
    async with Sandbox([APP]) as okta:
        okta.latency = 0.12
        okta.on_request = lambda _: setattr(okta, "latency", 0.0)
        results = await diagnose(okta.origin, "a x")
    (milliseconds,) = re.findall(
        r"^the slowest token response took (\d+) ms$", results["latency"].detail
    )

    assert results["latency"].outcome is PASS
    assert 120 <= int(milliseconds) < 1000


# Plain http to another machine


async def test_plain_http_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `allow_http` the doctor looks the name up, and connects without TLS."""
    loop, look_up_before = asyncio.get_running_loop(), socket.getaddrinfo

    def find_loopback(host: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return look_up_before(LOOPBACK, *arguments, **options)

    async def find_in_loop(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return find_loopback(*arguments, **options)

    async with Sandbox([APP]) as okta:
        monkeypatch.setattr(socket, "getaddrinfo", find_loopback)
        monkeypatch.setattr(loop, "getaddrinfo", find_in_loop)  # uvloop does not call the socket's
        client = OktaClient(
            f"http://okta.internal:{okta.port}",
            CLIENT_ID,
            ClientSecretBasic(SECRET),
            allow_http=True,
        )
        diagnosis = await doctor.diagnose(client, "a")
    results = {result.name: result for result in diagnosis.results}

    assert diagnosis.outcome is PASS
    assert results["dns"].detail == f"okta.internal is {LOOPBACK}"
    assert results["tls"].detail == "plain http, which allow_http=True allows"


# A client's own objects


class OwnMethod:
    """An authentication method of the user's own."""

    credential_identity = "own"

    async def __call__(self, request: TokenRequest, /) -> None:
        """Authenticate a request with the secret in its form."""
        request.form["client_id"] = CLIENT_ID
        request.form["client_secret"] = SECRET


async def test_a_service_diagnoses_its_own_client() -> None:
    """A service gets the diagnosis as a value, which JSON can represent."""
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "b"], dpop=True)
    async with Sandbox([app]) as okta:
        client = OktaClient(okta.origin, CLIENT_ID, OwnMethod())
        diagnosis = await doctor.diagnose(client, {"b", "a"})
    results = {result.name: result for result in diagnosis.results}

    assert not diagnosis.ok
    assert [*results] == check_names("a b")
    assert results["configuration"].detail.endswith(", OwnMethod, scopes a b")
    assert results["authentication"].detail == "OwnMethod is accepted"
    assert SECRET not in json.dumps(diagnosis.as_dict())


async def test_invalid_arguments_are_refused_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scopes, stores and sessions that a provider refuses are refused before the first request."""
    connections: list[object] = []

    async def record(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        connections.append(reader)

    async with (
        listening(record) as port,
        ClientSession(headers={"Authorization": "Bearer x"}) as session,
        ClientSession(proxy=f"http://{LOOPBACK}:{port}") as via_proxy,
        ClientSession(trust_env=True) as trusting,
    ):
        client = OktaClient(f"http://{LOOPBACK}:{port}", CLIENT_ID, ClientSecretBasic(SECRET))
        with pytest.raises(ConfigurationError, match=r"^scopes: "):
            await doctor.diagnose(client, "a,b")
        with pytest.raises(ConfigurationError, match=r"store must be a TokenStore"):
            await doctor.diagnose(client, "a", store=cast("TokenStore", object()))
        with pytest.raises(ConfigurationError, match=r"^session: it sends an Authorization"):
            await doctor.diagnose(client, "a", session=session)
        with pytest.raises(ConfigurationError, match=r"^session: it sends plain http through"):
            await doctor.diagnose(client, "a", session=via_proxy)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        (tmp_path / "netrc").write_text(f"machine {LOOPBACK} login a password b")
        with pytest.raises(ConfigurationError, match=r"^session: with trust_env=True"):
            await doctor.diagnose(client, "a", session=trusting)

    assert connections == []


async def diagnose_with(session: ClientSession, origin: str) -> Results:
    """Run all checks with a given session, which must be left as it was."""
    client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
    diagnosis = await doctor.diagnose(client, "a", session=session, step_timeout=0.5)

    assert session.trace_configs == []
    assert not session.closed
    return Results({result.name: result for result in diagnosis.results})


async def test_a_given_session_is_used() -> None:
    """With a given session its connector is used, and the clock and the limits are still known."""
    async with Sandbox([APP]) as okta, ClientSession() as session:
        okta.date_offset = 120.0
        results = await diagnose_with(session, okta.origin)

    assert results["dns"].detail == "not known: the given session looks names up itself"
    assert results["tcp"].detail == "the given session connects in its own way"
    assert results.outcomes("clock", "scope a", "latency", "rate limit") == [FAIL, *[PASS] * 3]


async def test_a_given_session_without_a_connection_fails() -> None:
    """If the given session cannot connect, the tcp check says why."""
    async with listening(close) as port:
        pass
    async with ClientSession() as session:
        results = await diagnose_with(session, f"https://{LOOPBACK}:{port}")

    assert results["tcp"].detail == (
        f"the given session has no connection to https://{LOOPBACK}:{port}: Connection refused"
    )
    assert results.skip_reasons() >= {"tcp failed"}


@pytest.mark.usefixtures("_no_debug")
@pytest.mark.parametrize("trusted", [True, False])
async def test_the_certificates_of_a_given_session_count(*, trusted: bool) -> None:
    """The given session decides which certificates it trusts; it does not show them."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    leaf = authority.issue_cert(LOOPBACK)
    async with (
        Sandbox([APP], ssl_context=server_context(leaf)) as okta,
        ClientSession(connector=TCPConnector(ssl=context)) as session,
    ):
        results = await diagnose_with(session, okta.origin)

    assert results.outcomes("tcp", "tls") == [PASS, SKIP if trusted else FAIL]
    assert ("is not trusted" in results["tls"].detail) is not trusted


# Cancellation


async def test_cancellation_leaves_no_task() -> None:
    """A diagnosis that is cancelled during a request leaves no task behind."""
    before = asyncio.all_tasks()
    async with Sandbox([APP]) as okta:
        okta.latency = 60
        task = asyncio.create_task(diagnose(okta.origin))
        await until(lambda: okta.active == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert asyncio.all_tasks() == before
