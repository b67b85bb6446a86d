"""What the doctor does, on real sockets, wherever it can go wrong between here and Okta."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    __version__,
)
from okta_tokens.cli import _examination
from okta_tokens.cli._examination import Examination, Resolver, look_up, plan, scope_sets
from okta_tokens.cli._findings import Finding, Outcome
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.cli.servers import LOOPBACK, Handler, close, listening, saying, shows, silence
from tests.keys import ec_key
from tests.support import until

CLIENT_ID = "0oaclient"
SECRET = "Canary-Secret-9f1b3d5a7c2e4f6a8b0d"
APP = SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "b", "c", "okta.users.read"])
OTHER_APP = SandboxClient("0oaother", [SECRET], scopes=["d"])
DAY = timedelta(days=1)
NOW = datetime.now(UTC)

PASS, WARN, FAIL, SKIP = Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.SKIP


class Report(dict[str, Finding]):
    """Findings by name, and how many requests they took."""

    requests = 0

    def outcomes(self, *names: str) -> list[Outcome]:
        """Return how some checks went."""
        return [self[name].outcome for name in names]

    def whys(self) -> set[str]:
        """Return why checks were skipped."""
        return {it.detail for it in self.values() if it.outcome is SKIP}


async def examine(
    origin: str,
    scopes: str = "a",
    *,
    authentication: ClientAuthentication | None = None,
    server: str | None = "default",
    dpop: bool = False,
    patience: float = 5.0,
    resolver: Resolver = look_up,
) -> Report:
    """Look at everything; fail unless each check is told once, in the order of the plan."""
    findings: list[Finding] = []
    client = OktaClient(
        origin,
        CLIENT_ID,
        authentication or ClientSecretBasic(SECRET),
        authorization_server=server,
        dpop=DPoP() if dpop else None,
    )
    examination = Examination(
        client, scopes, patience=patience, tell=findings.append, resolver=resolver
    )
    await examination.run()

    assert [finding.name for finding in findings] == plan(scope_sets(scopes))
    assert SECRET not in repr(findings)
    report = Report({finding.name: finding for finding in findings})
    report.requests = examination.requests
    return report


# All is well


async def test_all_is_well() -> None:
    """Where nothing is wrong each check passes, and each scope takes a request, as do all."""
    async with Sandbox([APP]) as okta:
        report = await examine(okta.origin, "a b")

    assert {it.outcome for it in report.values()} == {PASS, SKIP}
    assert report.whys() == {"plain http, which is for this machine alone"}
    assert report.requests == 3
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
def test_what_is_asked_for(scopes: str, names: list[str]) -> None:
    """Each scope is asked for once, in the person's order; then all, if there are several."""
    assert [*scope_sets(scopes)] == names


async def test_scopes_by_default() -> None:
    """Without scopes one request shows what the server grants then."""
    async with Sandbox([APP], default_scopes=["b", "a"]) as okta:
        report = await examine(okta.origin, "")

    assert report["default scopes"].detail == "granted: a b"
    assert report.requests == 1


async def test_the_first_request_holds_no_credential() -> None:
    """It asks for a document that is public, and for none that was kept on the way."""
    heads: list[str] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await saying()(reader, writer)

    async with listening(hear) as port:
        await examine(f"http://{LOOPBACK}:{port}", patience=0.3)
    get, post = heads

    assert get.startswith("GET /.well-known/openid-configuration ")
    assert "\r\nCache-Control: no-cache\r\n" in get
    assert f"\r\nUser-Agent: okta-tokens/{__version__}\r\n" in get
    assert "Authorization" not in get
    assert "\r\nAuthorization: Basic " in post
    assert all("\r\nConnection: close\r\n" in head for head in heads)


# From here to the server


def nowhere(_host: str, _port: int) -> list[str]:
    """Find no address."""
    raise OSError("Name or service not known")


async def test_a_name_that_does_not_resolve() -> None:
    """A name without an address fails, and all that follows is skipped for that reason."""
    report = await examine("https://nowhere.localhost", resolver=nowhere)

    assert report["dns"].detail == "nowhere.localhost has no address: Name or service not known"
    assert report.whys() == {"dns failed"}
    assert report.outcomes("dns", "tcp", "rate limit") == [FAIL, SKIP, SKIP]
    assert report.requests == 0


async def test_a_name_server_that_hangs() -> None:
    """A look-up that does not end holds nobody up, neither here nor at the end."""
    over = threading.Event()

    def hang(_host: str, _port: int) -> list[str]:
        over.wait(20)
        return []

    began = time.monotonic()
    report = await examine("https://nowhere.localhost", patience=0.05, resolver=hang)
    took = time.monotonic() - began
    over.set()
    await asyncio.sleep(0.01)  # what it finds so late is for nobody

    assert report["dns"].detail == "nowhere.localhost has no address: time ran out"
    assert took < 5


def test_a_name_server_that_outlasts_the_loop() -> None:
    """A look-up that ends when the event loop has is no error either."""
    over, ended = threading.Event(), threading.Event()

    def hang(_host: str, _port: int) -> list[str]:
        over.wait(20)
        threading.Timer(0.05, ended.set).start()
        return []

    asyncio.run(examine("https://nowhere.localhost", patience=0.05, resolver=hang))
    over.set()

    assert ended.wait(5)


async def test_the_name_server_of_the_system() -> None:
    """Names are looked up as the system does; each address is told once."""
    async with Sandbox([APP]) as okta:
        report = await examine(f"http://localhost:{okta.port}")

    assert report["dns"].detail.startswith("localhost is ")
    assert LOOPBACK in report["dns"].detail
    assert report.outcomes("tcp", "scope a") == [PASS, PASS]


async def test_a_closed_port() -> None:
    """A port where nobody listens fails, with the system's words."""
    async with listening(close) as port:
        pass
    report = await examine(f"https://{LOOPBACK}:{port}")

    assert report["tcp"].detail == f"no connection to {LOOPBACK}:{port}: Connection refused"
    assert report.whys() == {"tcp failed"}


@pytest.mark.parametrize("addresses", [["::ffff:1", LOOPBACK], [LOOPBACK, "::ffff:1"]])
async def test_one_address_of_several_is_enough(addresses: list[str]) -> None:
    """Where one address lets nobody connect, another one does."""
    async with Sandbox([APP]) as okta:
        report = await examine(okta.origin, resolver=lambda *_: addresses)

    assert report.outcomes("dns", "tcp", "scope a") == [PASS, PASS, PASS]


async def test_a_server_that_hangs() -> None:
    """A server that says nothing fails at the endpoint; its clock is not known."""
    async with listening(silence) as port:
        report = await examine(f"http://{LOOPBACK}:{port}", patience=0.2)

    assert report["clock"].detail == "no answer that tells Okta's time: time ran out"
    assert report["endpoint"].outcome is FAIL
    assert report["endpoint"].detail == f"no answer from http://{LOOPBACK}:{port} within 0.2 s"
    assert report["rate limit"].detail == "endpoint failed"
    assert report.requests == 1


async def test_an_address_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never comes about is given up."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(_examination, "_connect", hang)
    report = await examine(f"https://{LOOPBACK}:1", patience=0.05)

    assert report["tcp"].detail == f"no connection to {LOOPBACK}:1: time ran out"


@pytest.mark.parametrize(
    ("offset", "outcome"), [(0.0, PASS), (10.0, WARN), (-10.0, WARN), (120.0, FAIL)]
)
async def test_a_clock_that_is_off(offset: float, outcome: Outcome) -> None:
    """The clock is compared with Okta's `Date`; whatever it says, tokens are asked for."""
    async with Sandbox([APP]) as okta:
        okta.date_offset = offset
        report = await examine(okta.origin)

    assert report["clock"].outcome is outcome
    assert report["scope a"].outcome is PASS


# TLS


@pytest.fixture
async def _quiet() -> None:
    """In debug mode a loop reports each handshake that a client breaks off, as some here are to."""
    asyncio.get_running_loop().set_debug(False)


@pytest.fixture
def authority(_quiet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Return an authority that this machine trusts."""
    authority = trustme.CA(organization_name="ours")
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return authority


async def test_a_certificate_that_is_trusted(authority: trustme.CA) -> None:
    """Its issuer, the version of TLS and the days that are left are told."""
    leaf = authority.issue_cert(LOOPBACK, not_before=NOW - DAY, not_after=NOW + 99.5 * DAY)
    async with Sandbox([APP], ssl_context=shows(leaf)) as okta:
        report = await examine(okta.origin)

    assert report["tls"].outcome is PASS
    assert report["tls"].detail == (
        "TLSv1.3; the certificate is by ours, and good for 99 more days"
    )
    assert report["scope a"].outcome is PASS


async def test_a_certificate_that_ends_soon(authority: trustme.CA) -> None:
    """A certificate in its last days is a warning, and no reason to stop."""
    leaf = authority.issue_cert(LOOPBACK, not_before=NOW - 90 * DAY, not_after=NOW + 3 * DAY)
    async with Sandbox([APP], ssl_context=shows(leaf)) as okta:
        report = await examine(okta.origin)

    assert report.outcomes("tls", "scope a") == [WARN, PASS]


@pytest.mark.parametrize(
    ("host", "begin", "end", "why"),
    [
        (LOOPBACK, -2 * DAY, -DAY, "certificate has expired"),
        (LOOPBACK, DAY, 2 * DAY, "certificate is not yet valid"),
        ("acme.okta.com", -DAY, DAY, "IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_refused(
    authority: trustme.CA, host: str, begin: timedelta, end: timedelta, why: str
) -> None:
    """A certificate that is out of date, or of somebody else, is shown no credential."""
    leaf = authority.issue_cert(host, not_before=NOW + begin, not_after=NOW + end)
    async with Sandbox([APP], ssl_context=shows(leaf)) as okta:
        report = await examine(okta.origin)

    assert report["tls"].outcome is FAIL
    assert why in report["tls"].detail
    assert report.whys() == {"tls failed"}
    assert okta.token_requests == 0


@pytest.mark.usefixtures("_quiet")
async def test_an_authority_that_nobody_knows() -> None:
    """A certificate of an unknown authority is refused, and how to trust it is told."""
    leaf = trustme.CA().issue_cert(LOOPBACK)
    async with Sandbox([APP], ssl_context=shows(leaf)) as okta:
        report = await examine(okta.origin)

    assert report["tls"].outcome is FAIL
    assert "unable to get local issuer certificate" in report["tls"].detail
    assert "SSL_CERT_FILE" in (report["tls"].remedy or "")


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (silence, "does not come to an end"),
        (close, "failed: "),
        (saying("Date: x"), "failed: "),
    ],
    ids=["silence", "closed", "plain http"],
)
async def test_a_port_that_speaks_no_tls(handler: Handler, why: str) -> None:
    """A handshake that is broken off, or that never ends, fails."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if why == "failed: " and handler is not close:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        else:
            await handler(reader, writer)

    async with listening(hear) as port:
        report = await examine(f"https://{LOOPBACK}:{port}", patience=0.3)

    assert report["tls"].outcome is FAIL
    assert report["tls"].detail.startswith(f"the handshake with {LOOPBACK}:{port} {why}")


async def test_a_server_that_hangs_after_the_handshake(authority: trustme.CA) -> None:
    """A certificate is judged also if no answer follows."""
    leaf = authority.issue_cert(LOOPBACK)
    async with listening(silence, shows(leaf)) as port:
        report = await examine(f"https://{LOOPBACK}:{port}", patience=0.3)

    assert report.outcomes("tls", "clock", "endpoint") == [PASS, SKIP, FAIL]


# Proxies


@asynccontextmanager
async def proxying(target: int, status: int = 200) -> AsyncIterator[tuple[int, list[str]]]:
    """Run a proxy that tunnels to a port of this machine; return its port, and what it is asked."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        writer.write(f"HTTP/1.1 {status} X\r\n\r\n".encode())
        if status == 200:
            far = await asyncio.open_connection(LOOPBACK, target)
            await asyncio.gather(pump(reader, far[1]), pump(far[0], writer), return_exceptions=True)

    async with listening(handle) as port:
        yield port, asked


async def test_the_way_through_a_proxy(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `HTTPS_PROXY` the proxy is what is looked up and connected to, and Okta's TLS judged."""
    leaf = authority.issue_cert("acme.okta.com")
    async with (
        Sandbox([APP], ssl_context=shows(leaf)) as okta,
        proxying(okta.port) as (port, asked),
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw-canary@{LOOPBACK}:{port}")
        report = await examine("https://acme.okta.com")

    assert report["tcp"].detail.startswith(f"connected to {LOOPBACK}:{port}, the proxy in ")
    assert report.outcomes("tls", "clock", "endpoint", "scope a") == [PASS] * 4
    assert {*asked} == {"CONNECT acme.okta.com:443 HTTP/1.1"}
    assert "pw-canary" not in repr(report)


async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that lets nobody through is told by its status, and not by its password."""
    async with proxying(0, status=403) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw-canary@{LOOPBACK}:{port}")
        report = await examine("https://acme.okta.com")

    assert report["tls"].detail == "the proxy refused the connection to acme.okta.com (403)"
    assert report.whys() == {"tls failed"}
    assert "pw-canary" not in repr(report)


async def test_a_proxy_whose_url_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """`HTTPS_PROXY` without a scheme is a failure of its own."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    report = await examine("https://acme.okta.com", resolver=nowhere)

    assert "HTTPS_PROXY is no URL of a proxy" in report["dns"].detail


# What Okta says


async def test_an_outage() -> None:
    """An outage is the endpoint's, and nothing more is asked."""
    async with Sandbox([APP]) as okta:
        okta.fault = Fault.status(503)
        report = await examine(okta.origin, "a b")

    assert report["endpoint"].detail.startswith("the server answered 503")
    assert report["endpoint"].remedy == "nothing to mend here, try later"
    assert "endpoint failed" in report.whys()
    assert report.requests == 1


async def test_a_page_instead_of_json() -> None:
    """What is not Okta's JSON is the endpoint's failure: a portal, a firewall, another domain."""
    async with Sandbox([APP]) as okta:
        okta.fault = Fault.html()
        report = await examine(okta.origin)

    assert report["endpoint"].outcome is FAIL
    assert "not Okta's JSON" in report["endpoint"].detail


async def test_a_server_id_that_does_not_exist() -> None:
    """A wrong authorization server is not taken for a wrong client."""
    async with Sandbox([APP]) as okta:
        report = await examine(okta.origin, server="ausNone")

    assert report["endpoint"].outcome is FAIL
    assert "--authorization-server" in (report["endpoint"].remedy or "")
    assert report["authentication"].outcome is SKIP


async def test_a_secret_that_is_wrong() -> None:
    """A refused client is told in Okta's words, and no scope is asked for any more."""
    async with Sandbox([APP]) as okta:
        report = await examine(
            okta.origin, "a b", authentication=ClientSecretBasic("Canary-Wrong-4f6a8b0d")
        )

    assert report["endpoint"].outcome is PASS
    assert report["authentication"].outcome is FAIL
    assert report["authentication"].detail.startswith(
        "client_secret_basic: The client secret supplied for a confidential client is invalid (401 "
        "invalid_client, request id "
    )
    assert report["scope a"].detail == "authentication failed"
    assert report["rate limit"].outcome is PASS
    assert report.requests == 1
    assert "Canary" not in repr(report)


async def test_the_orgs_own_server_and_a_secret() -> None:
    """The usual mistake at the org's own server has its own remedy."""
    async with Sandbox([APP]) as okta:
        report = await examine(okta.origin, "okta.users.read", server=None)

    assert report["authentication"].outcome is FAIL
    assert "private_key_jwt alone" in (report["authentication"].remedy or "")


async def test_a_key_of_which_okta_knows_nothing() -> None:
    """A key where a secret is registered is refused as what it is."""
    async with Sandbox([APP]) as okta:
        report = await examine(okta.origin, authentication=PrivateKeyJWT(ec_key()))

    assert report["authentication"].outcome is FAIL
    assert report["authentication"].detail.startswith("private_key_jwt: ")


async def test_a_credential_that_is_not_to_be_had() -> None:
    """Where no credential comes, nothing is sent, and that is told."""

    def vault() -> str:
        raise LookupError("sealed")

    async with Sandbox([APP]) as okta:
        report = await examine(okta.origin, authentication=ClientSecretBasic(vault))

    assert report.outcomes("endpoint", "authentication", "scope a") == [SKIP, FAIL, SKIP]
    assert report["rate limit"].detail == "no answer told a limit"
    assert (report.requests, okta.token_requests) == (0, 0)


async def test_each_scope_is_judged_by_itself() -> None:
    """One that is refused hides no other; and all together are asked for in any case."""
    async with Sandbox([APP, OTHER_APP]) as okta:
        report = await examine(okta.origin, "x a d b")

    assert report.outcomes("authentication", "scope a", "scope b") == [PASS] * 3
    assert "400 invalid_scope" in report["scope x"].detail
    assert "400 access_denied" in report["scope d"].detail
    assert report["all scopes"].outcome is FAIL
    assert report["lifetime"].outcome is PASS
    assert report.requests == 5


async def test_lives_that_differ() -> None:
    """The lifetime is told of each set, if it is not the same."""
    async with Sandbox([APP], lifetimes={"a": 600, "b a": 100}) as okta:
        report = await examine(okta.origin, "a b")

    assert report["lifetime"].outcome is WARN
    assert report["lifetime"].detail == "scope a 600 s, scope b 3600 s, all scopes 100 s"


async def test_a_limit_that_is_reached_at_once() -> None:
    """After a 429 nothing more is asked; what is not known is skipped for that reason."""
    async with Sandbox([APP]) as okta:
        okta.fault = Fault.rate_limited(40)
        report = await examine(okta.origin, "a b")

    assert report.outcomes("endpoint", "authentication", "scope a") == [PASS, SKIP, SKIP]
    assert report["scope b"].detail == "rate limit failed"
    assert report["rate limit"].outcome is FAIL
    assert report["rate limit"].detail.startswith("Okta answered 429: too many requests in its")
    assert "; the window ends in " in report["rate limit"].detail
    assert report.requests == 1


async def test_a_limit_that_is_reached_on_the_way() -> None:
    """What was found before the 429 counts, and so does the lifetime."""
    async with Sandbox([APP], rate_limit=1) as okta:
        report = await examine(okta.origin, "a b c")

    assert report.outcomes("scope a", "scope b", "scope c") == [PASS, SKIP, SKIP]
    assert report["scope b"].detail == "not known: Okta counted requests first"
    assert report["all scopes"].detail == "rate limit failed"
    assert report.outcomes("lifetime", "dpop", "rate limit") == [PASS, PASS, FAIL]
    assert report.requests == 2


async def test_a_limit_that_is_near() -> None:
    """Less than a fifth of the window is a warning."""
    async with Sandbox([APP], rate_limit=10) as okta:
        for _ in range(8):
            await examine(okta.origin)
        report = await examine(okta.origin)

    assert report["rate limit"].outcome is WARN
    assert report["rate limit"].detail.startswith("1 of 10 requests are left, and the window ends")


async def test_a_server_that_tells_no_time() -> None:
    """Without a date nothing is said of the clock; without JSON the endpoint is not Okta's."""
    async with listening(saying()) as port:
        report = await examine(f"http://{LOOPBACK}:{port}")

    assert report["clock"].detail == "no answer that tells Okta's time: it has no date"
    assert report["endpoint"].detail == "the answer (200) cannot be used: it is not Okta's JSON"


async def test_a_scope_that_meets_an_outage() -> None:
    """An outage on the way is the scope's, and ends the questions."""
    async with Sandbox([APP]) as okta:
        okta.on_request = lambda _: okta.fail_next(Fault.status(503))
        report = await examine(okta.origin, "a b c")

    assert report.outcomes("scope a", "scope b", "scope c") == [PASS, FAIL, SKIP]
    assert report["scope c"].detail == "scope b failed"


# Proofs


@pytest.fixture
def bound_app() -> SandboxClient:
    """Return an app that demands proofs."""
    return SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "b"], dpop=True)


async def test_proofs_are_made(bound_app: SandboxClient) -> None:
    """A client with a key of its own gets bound tokens; the nonce takes one request more."""
    async with Sandbox([bound_app]) as okta:
        report = await examine(okta.origin, "a b", dpop=True)

    assert report["dpop"].detail == "tokens are bound to the client's key"
    assert report.requests == 4


async def test_proofs_are_demanded(bound_app: SandboxClient) -> None:
    """That a client makes no proofs is told, and does not hide whatever else there is to tell."""
    async with Sandbox([bound_app]) as okta:
        report = await examine(okta.origin, "a x b")

    assert report["dpop"].outcome is FAIL
    assert "The DPoP proof JWT header is missing" in report["dpop"].detail
    assert report.outcomes("authentication", "scope a", "scope x") == [PASS, PASS, FAIL]
    assert report["lifetime"].outcome is PASS
    assert report.requests == 6  # a refused, for want of a nonce, a, x, b, all


async def test_proofs_are_demanded_and_cannot_be_made(
    bound_app: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the doctor makes no proofs either; how to get it is told."""
    monkeypatch.setitem(sys.modules, "okta_tokens._auth.keys", None)
    async with Sandbox([bound_app]) as okta:
        report = await examine(okta.origin)

    assert report.outcomes("endpoint", "authentication", "dpop") == [PASS, SKIP, FAIL]
    assert report["scope a"].detail == "dpop failed"
    assert "okta-tokens[jwt]" in (report["dpop"].remedy or "")
    assert report.requests == 1


async def test_a_proof_that_is_refused(bound_app: SandboxClient) -> None:
    """What Okta has against a proof is told in its words."""
    async with Sandbox([bound_app]) as okta:
        okta.fault = Fault.refuse(400, "invalid_dpop_proof", "The htu claim is invalid.")
        report = await examine(okta.origin, dpop=True)

    assert report["dpop"].outcome is FAIL
    assert report["dpop"].detail.startswith("The htu claim is invalid (400 invalid_dpop_proof")
    assert report["scope a"].detail == "dpop failed"


# The end


async def test_a_cancellation_leaves_nothing() -> None:
    """Whoever is cancelled while a request is under way leaves no task behind."""
    before = asyncio.all_tasks()
    async with Sandbox([APP]) as okta:
        okta.latency = 60
        task = asyncio.create_task(examine(okta.origin))
        await until(lambda: okta.active == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert asyncio.all_tasks() == before
