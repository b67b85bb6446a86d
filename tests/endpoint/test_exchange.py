"""One HTTP request: its form and headers, its limits, and the error if there is no response."""

import asyncio
import socket
import ssl
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
import trustme
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens import ClientSecretBasic, ClientSecretPost, OktaClient, RetryPolicy, TokenProvider
from okta_tokens._endpoint.exchange import _encode
from okta_tokens._endpoint.token_request import USER_AGENT
from okta_tokens.errors import (
    CredentialError,
    FetchError,
    InvalidResponseError,
    OAuthError,
    TransportError,
)
from okta_tokens.sandbox import DEFAULT_CLIENT, Fault, Sandbox
from tests.endpoint.servers import token_server
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SECRET, default_client, until, world

GOOD = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600, "scope": "a"}


async def failed_fetch(provider: TokenProvider, client: OktaClient) -> FetchError:
    """Return the error of a fetch that fails."""
    with pytest.raises(FetchError) as caught:
        await provider.get_token(client, "a")
    return caught.value


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
async def test_the_request_is_what_okta_documents(
    method: type[ClientSecretBasic | ClientSecretPost],
) -> None:
    """A request holds one form, one credential and our user agent, and its URL holds no secret."""
    received: list[tuple[dict[str, str], dict[str, str], str]] = []

    async def handler(request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        received.append((form, dict(request.headers), request.query_string))
        return web.json_response(GOOD)

    async with token_server(handler) as origin, TokenProvider() as provider:
        client = OktaClient(origin, "0oa1", method("s3cr%t +:&="))
        await provider.get_token(client, "b a")
        await provider.get_token(client)

    (form, headers, query), (without, _, _) = received
    credentials = {"client_id": "0oa1", "client_secret": "s3cr%t +:&="}
    expected = {"grant_type": "client_credentials", "scope": "a b"}
    if method is ClientSecretPost:
        assert form == expected | credentials
        assert "Authorization" not in headers
    else:
        assert form == expected
        assert headers["Authorization"] == "Basic MG9hMTpzM2NyJXQgKzomPQ=="
    assert query == ""
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"
    assert headers["User-Agent"].startswith("okta-tokens/")
    assert "scope" not in without


async def test_the_parameters_of_a_client_are_sent() -> None:
    """Each additional field is sent after the others, a tuple once for each value."""
    received: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        received.append(await request.text())
        return web.json_response(GOOD)

    async with token_server(handler) as origin, TokenProvider() as provider:
        client = OktaClient(
            origin,
            "0oa1",
            ClientSecretBasic(SECRET),
            parameters={"resource": ("https://a", "b&c"), "audience": "x"},
        )
        await provider.get_token(client, "a")

    assert received == [
        "grant_type=client_credentials&scope=a&audience=x&resource=https%3A%2F%2Fa&resource=b%26c"
    ]


async def test_the_user_agent_may_begin_with_that_of_the_service() -> None:
    """With `user_agent`, token and revocation requests name the service, and then this package."""
    received: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        received.append(request.headers["User-Agent"])
        return web.json_response(GOOD)

    async with (
        token_server(handler) as origin,
        TokenProvider(user_agent="orders/1.2 (eu; 7)") as provider,
    ):
        client = OktaClient(origin, "0oa1", ClientSecretBasic(SECRET))
        await provider.revoke(await provider.get_token(client, "a"))

    assert received == [f"orders/1.2 (eu; 7) {USER_AGENT}"] * 2


async def test_the_callable_for_the_secret_is_called_for_every_request() -> None:
    """A callable for the secret is called for every request, so a new secret needs no restart."""
    secrets = ["wrong-secret-0", "wrong-secret-0", *DEFAULT_CLIENT.secrets]

    async def next_secret() -> str:
        return secrets.pop(0)

    async with Sandbox() as sandbox, TokenProvider() as provider:
        client = OktaClient(
            sandbox.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(next_secret)
        )
        assert isinstance(await failed_fetch(provider, client), OAuthError)
        token = await provider.get_token(client, "customScope")

        assert token.remaining() > 0
        assert secrets == []


@pytest.mark.parametrize("store", [None, MemoryTokenStore])
async def test_a_callable_that_returns_the_client_id_is_named(
    store: type[MemoryTokenStore] | None,
) -> None:
    """If the callable returns an id, and the id is none, no request is sent; they are swapped."""
    async with world(store=store) as here:
        method = ClientSecretBasic(lambda: "0oa1client")
        client = OktaClient(here.sandbox.origin, "open-sesame", method)
        error = await failed_fetch(here.provider, client)

        assert error.args[0] == (
            "the callable for the client secret returned a client id, and the client id of the "
            "OktaClient is the secret; exchange them, and rotate the secret, which logs may contain"
        )
        assert here.sandbox.token_requests == 0


async def test_a_callable_that_raises_is_a_credential_error() -> None:
    """If the callable for the secret raises, no request is sent and the error names the cause."""

    def broken() -> str:
        raise OSError("vault is sealed")

    async with world() as here:
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(broken))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await here.all_attempts()
        with pytest.raises(CredentialError, match="OSError") as caught:
            await caller

        assert str(caught.value.__cause__) == "vault is sealed"
        assert here.sandbox.token_requests == 0


async def test_the_request_timeout_bounds_the_callable_for_the_secret() -> None:
    """Waiting for the secret counts as part of the request."""

    async def hangs() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async with world(retry=RetryPolicy(attempts=1)) as here:
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(hangs))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await here.clock.advance(11)
        with pytest.raises(TransportError) as caught:
            await caller

        assert caught.value.args[0] == (
            f"no response from {client.origin} within 10 s; check that this machine can reach it, "
            "and that the callable for the secret or key, if there is one, is quick"
        )


async def test_the_request_timeout_bounds_the_whole_response() -> None:
    """A body that arrives byte by byte is cut off at the deadline."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        here.sandbox.fault = Fault.drip(0.02)
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        await asyncio.sleep(0.05)
        await here.clock.advance(10)

        with pytest.raises(TransportError, match="no response"):
            await caller


async def test_no_more_than_64_kib_of_a_body_are_read() -> None:
    """An endless body is invalid after 64 KiB, and the rest is not read."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65_536)
                sent += 65_536
        except ConnectionError:
            return response

    async with token_server(endless) as origin, TokenProvider() as provider:
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        error = await failed_fetch(provider, client)
        await until(lambda: sent > 0)

    assert isinstance(error, InvalidResponseError)
    assert "64 KiB" in str(error)
    assert sent < 50_000_000


async def test_no_redirect_is_followed() -> None:
    """A redirect is not followed, so the credential goes to no other server."""
    async with Sandbox() as other, world() as here:
        here.sandbox.fault = Fault.redirect(f"{other.origin}/oauth2/default/v1/token")
        error = await failed_fetch(here.provider, here.client)

        assert isinstance(error, InvalidResponseError)
        assert error.status in {301, 302, 303, 307, 308}
        assert other.token_requests == 0


async def test_defaults_of_a_given_session_do_not_affect_a_request() -> None:
    """Middlewares, timeouts and other defaults of a given session do not affect token requests."""

    async def meddle(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        raise AssertionError("a token request went through the session's middleware")

    session = aiohttp.ClientSession(
        middlewares=(meddle,),
        raise_for_status=True,
        timeout=aiohttp.ClientTimeout(total=0.0001),
        base_url="http://127.0.0.1:9/",
    )
    async with session, world() as here, TokenProvider(session=session) as provider:
        here.sandbox.latency = 0.01
        assert (await provider.get_token(here.client, "a")).value
        unknown = OktaClient(here.sandbox.origin, "unknown", ClientSecretBasic(SECRET))
        error = await failed_fetch(provider, unknown)
        assert isinstance(error, OAuthError)


async def test_a_closed_session_is_not_retried() -> None:
    """If the given session is closed, the error names the session and is not retryable."""
    async with world() as here, aiohttp.ClientSession() as session:
        async with TokenProvider(session=session) as provider:
            await session.close()
            error = await failed_fetch(provider, here.client)

        assert isinstance(error, TransportError)
        assert not error.retryable
        assert error.args[0] == (
            "session: failed with RuntimeError before a response arrived; give the provider a "
            "session that is open and belongs to this event loop"
        )
        assert str(error.__cause__) == "Session is closed"
        assert error.__cause__ is not None
        assert error.__cause__.__traceback__ is None


# Connections


async def test_no_connection_is_a_transport_error(closed_port: int) -> None:
    """A port on which no server listens is a retryable error with the cause."""
    async with world() as here:
        client = OktaClient(f"http://127.0.0.1:{closed_port}", CLIENT_ID, ClientSecretBasic(SECRET))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await here.all_attempts()
        with pytest.raises(TransportError, match="no connection") as caught:
            await caller

        assert caught.value.retryable
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert caught.value.__cause__.__traceback__ is None


async def failed_attempt(origin: str, session: aiohttp.ClientSession | None = None) -> FetchError:
    """Return the error of a fetch with a single attempt."""
    async with TokenProvider(session=session, retry=RetryPolicy(attempts=1)) as provider:
        return await failed_fetch(
            provider, OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        )


async def test_a_certificate_of_an_unknown_authority_is_not_retried() -> None:
    """A certificate of an unknown authority has a message of its own and is not retryable."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    # In its debug mode asyncio reports how the server's side of the handshake fared.
    loop.set_exception_handler(lambda _loop, _context: None)
    try:
        async with Sandbox(ssl_context=tls, host="localhost") as sandbox:
            error = await failed_attempt(sandbox.origin)
    finally:
        loop.set_exception_handler(handler)

    assert isinstance(error, TransportError)
    assert "is not trusted: unable to get local issuer certificate; check" in str(error)
    assert not error.retryable
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_that_is_not_pinned_is_not_retried() -> None:
    """A certificate other than the session's pinned one is not retryable, and the error says so."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    pinned = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(bytes(32)))
    async with (
        Sandbox(ssl_context=tls, host="localhost") as sandbox,
        aiohttp.ClientSession(connector=pinned) as session,
    ):
        error = await failed_attempt(sandbox.origin, session)

    assert isinstance(error, TransportError)
    assert "fingerprint" in str(error)
    assert not error.retryable
    assert error.__cause__ is None


async def test_the_tls_settings_of_a_given_session_are_used() -> None:
    """With a session that trusts the authority the token arrives over TLS."""
    authority = trustme.CA()
    tls, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(trusting)
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with (
        Sandbox(ssl_context=tls, host="localhost") as sandbox,
        aiohttp.ClientSession(connector=connector) as session,
        TokenProvider(session=session) as provider,
    ):
        assert (await provider.get_token(default_client(sandbox), "customScope")).value


async def test_a_server_without_tls_is_a_transport_error() -> None:
    """A plain server on an https URL is a TLS failure, not an invalid response."""
    async with Sandbox() as sandbox:
        error = await failed_attempt(sandbox.origin.replace("http:", "https:"))

    assert isinstance(error, TransportError)
    assert "TLS" in str(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "incomplete or garbled"),
        (b"HTTP/1.1 200", "broke"),
    ],
)
async def test_each_broken_response_has_a_message(data: bytes, message: str) -> None:
    """Another protocol, an incomplete response and a broken connection have different messages."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        error = await failed_attempt(f"http://127.0.0.1:{port}")

    assert isinstance(error, TransportError)
    assert message in str(error)
    assert error.retryable


async def test_a_host_without_an_address_has_a_message() -> None:
    """A host name that does not resolve has a message of its own."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=NoAddresses())
    ) as session:
        error = await failed_attempt("https://nowhere.localhost", session)

    assert isinstance(error, TransportError)
    assert "no address" in str(error)


class NoAddresses(aiohttp.abc.AbstractResolver):
    """A name server that knows no host."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Find no address."""
        raise OSError(None, f"{host} is unknown")

    async def close(self) -> None:
        """Do nothing."""


class Cancelling(aiohttp.abc.AbstractResolver):
    """A name server whose own task was cancelled."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Raise a cancellation."""
        raise asyncio.CancelledError

    async def close(self) -> None:
        """Do nothing."""


async def test_a_cancellation_inside_the_session_is_a_transport_error() -> None:
    """A `CancelledError` that the session raises itself is an error, and no caller hangs."""
    connector = aiohttp.TCPConnector(resolver=Cancelling())
    async with aiohttp.ClientSession(connector=connector) as session:
        error = await failed_attempt("https://acme.okta.com", session)

    assert isinstance(error, TransportError)
    assert "CancelledError" in str(error)


@pytest.mark.parametrize("kind", [OSError, LookupError])
async def test_no_error_of_the_session_shows_a_secret(kind: type[Exception]) -> None:
    """If the text of an error that the session raises repeats the secret, the cause does not."""

    class Telling(NoAddresses):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[aiohttp.abc.ResolveResult]:
            raise kind("open sesame")

    client = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic("open sesame"))
    connector = aiohttp.TCPConnector(resolver=Telling())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        TokenProvider(session=session, retry=RetryPolicy(attempts=1)) as provider,
    ):
        error = await failed_fetch(provider, client)

    assert kind.__name__ in str(error.__cause__)
    assert "sesame" not in f"{error} {error.__cause__}"


# Proxies


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request over https uses the proxy of the environment, and no error shows its password."""
    requests: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://me:{SECRET}@127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        error = await failed_attempt("https://acme.okta.com")

    assert requests[0].startswith(b"CONNECT acme.okta.com:443")
    assert isinstance(error, TransportError)
    assert "proxy refused" in str(error)
    assert "407" in str(error)
    assert SECRET not in str(error) + repr(error) + repr(error.__cause__)


async def test_loopback_goes_through_no_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A request over plain http, which is only for this machine, goes through no proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    async with Sandbox() as sandbox, TokenProvider() as provider:
        assert (await provider.get_token(default_client(sandbox), "customScope")).value


texts = st.text("a~_-. =&+%:\xe9", max_size=4)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.dictionaries(texts, texts | st.binary(max_size=2) | st.integers(), max_size=3))
def test_a_form_is_encoded_as_urlencode_does(form: dict[str, str]) -> None:
    """Any form is encoded as `urlencode` does, whatever a method of authentication adds to it."""
    assert _encode(form) == urlencode(form).encode()
