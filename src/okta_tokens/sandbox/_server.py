"""The server: routes, faults, counters, and its life."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from secrets import token_urlsafe
from types import TracebackType
from typing import Self

from aiohttp import web

from okta_tokens.sandbox._answers import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    TOO_MANY_REQUESTS,
    Reply,
    json_reply,
    oauth_error,
    okta_error,
)
from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._limits import RateWindow
from okta_tokens.sandbox._model import (
    BASIC,
    DEFAULT_CLIENT,
    POST,
    IssuedToken,
    SandboxClient,
    TokenRegister,
)
from okta_tokens.sandbox._rules import ParsedRequest, authenticate, grant, parse_request

_LOG = logging.getLogger("okta_tokens.sandbox")
_REMEMBERED_REQUESTS = 10_000
_LONGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request that reached a token endpoint, without its secrets.

    Args:
        at: When, in seconds of the sandbox's wall time.
        path: The URL's path.
        client_id: Who asked, as far as it could be read.
        method: How it authenticated, as far as it could be read.
        scopes: What was asked for, as it was spelt.
        user_agent: The `User-Agent` header.
        status: The HTTP status that was answered; 0 if the connection was cut instead.
        error: The error's code; None for a token.
    """

    at: float
    path: str
    client_id: str | None
    method: str | None
    scopes: str
    user_agent: str
    status: int
    error: str | None


class Sandbox:
    """An Okta-like authorization server on this machine: strict as Okta is, and faulty on demand.

    Custom authorization servers answer at `/oauth2/{id}/v1/token`, the org's own at
    `/oauth2/v1/token`; each also at `/revoke` (RFC 7009) and `/introspect` (RFC 7662), and with its
    metadata (RFC 8414). `/resource` is a protected resource that accepts live tokens only. Use it
    with `async with`, or await `start` and `aclose`.

    Args:
        clients: The registered apps.
        authorization_servers: The ids of the custom authorization servers.
        default_scopes: What a custom server grants to a request without scopes.
        lifetime: Of tokens, in seconds. The org's own server ignores it: there it is an hour.
        lifetimes: Of tokens with just these scopes, in seconds; keys like `"a b"`.
        rate_limit: Requests to the token endpoints in a window; None does not limit.
        rate_window: How long a window is, in seconds.
        concurrency_limit: Requests at once; None does not limit.
        host: Where to listen.
        port: Where to listen; 0 takes a free one.
        ssl_context: The server's certificate; None speaks plain http.
        wall_time: Tells the time, in seconds since the epoch: for tests.
        seed: Of random latencies.
        on_request: Called with every request to a token endpoint.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, and each has its default
        self,
        clients: Iterable[SandboxClient] = (DEFAULT_CLIENT,),
        *,
        authorization_servers: Iterable[str] = ("default",),
        default_scopes: Iterable[str] = (),
        lifetime: int = 3600,
        lifetimes: Mapping[str, int] | None = None,
        rate_limit: int | None = None,
        rate_window: float = 60.0,
        concurrency_limit: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        wall_time: Callable[[], float] = time.time,
        seed: int | None = None,
        on_request: Callable[[ReceivedRequest], None] | None = None,
    ) -> None:
        self.latency: float | tuple[float, float] = 0.0
        """Seconds before a token endpoint answers; a pair draws uniformly between the two."""
        self.fault: Fault | None = None
        """What goes wrong with every token request, until it is set to None."""
        self.date_offset = 0.0
        """Seconds by which the sandbox's clock is wrong, in its headers."""
        self.outages: list[tuple[float, float]] = []
        """Pairs of seconds: after how long from the start an outage begins, and how long it is."""
        self._clients = {client.client_id: client for client in clients}
        self._servers = frozenset(authorization_servers)
        self._default_scopes = frozenset(default_scopes)
        self._lifetime = lifetime
        self._lifetimes = {
            frozenset(scopes.split()): seconds for scopes, seconds in (lifetimes or {}).items()
        }
        self._windows = {
            org: RateWindow(rate_limit, rate_window, wall_time) for org in (True, False)
        }
        self._rate_window = rate_window
        self._concurrency_limit = concurrency_limit
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._wall_time = wall_time
        self._random = random.Random(seed)  # noqa: S311 - latencies, no secrets
        self._on_request = on_request
        self._faults: deque[Fault] = deque()
        self._register = TokenRegister()
        self._runner: web.AppRunner | None = None
        self._started_at = 0.0
        self._concurrency = 0
        self.reset_counters()

    def reset_counters(self) -> None:
        """Begin to count anew."""
        self.token_requests = 0
        """Requests that reached a token endpoint, refused and faulty ones included."""
        self.tokens_issued = 0
        self.peak_concurrency = 0
        """The most token requests that were under way at once."""
        self.resource_calls = 0
        """Requests that reached the protected resource."""
        self.resource_refused = 0
        """Those of them that were refused, for whatever reason."""
        self.expired_tokens_seen = 0
        """Those of them that carried a token after its expiry."""
        self.received: deque[ReceivedRequest] = deque(maxlen=_REMEMBERED_REQUESTS)
        """The last token requests."""

    def counts(self) -> dict[str, int]:
        """Return the counters by name."""
        return {
            "token_requests": self.token_requests,
            "tokens_issued": self.tokens_issued,
            "peak_concurrency": self.peak_concurrency,
            "resource_calls": self.resource_calls,
            "resource_refused": self.resource_refused,
            "expired_tokens_seen": self.expired_tokens_seen,
        }

    # Its life

    async def start(self) -> Self:
        """Begin to listen.

        Raises:
            OSError: If the port is taken.
        """
        application = web.Application(client_max_size=_LONGEST_BODY)
        for prefix in ("/oauth2/{server}/v1", "/oauth2/v1"):
            application.router.add_route("*", f"{prefix}/token", self._token)
            application.router.add_route("*", f"{prefix}/revoke", self._revoke)
            application.router.add_route("*", f"{prefix}/introspect", self._introspect)
        for path in (
            "/oauth2/{server}/.well-known/oauth-authorization-server",
            "/.well-known/oauth-authorization-server/oauth2/{server}",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
        ):
            application.router.add_get(path, self._metadata)
        application.router.add_route("*", "/resource", self._resource)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl_context)
            await site.start()
        except BaseException:
            await self.aclose()
            raise
        self._port = self._runner.addresses[0][1]
        self._started_at = self._wall_time()
        return self

    async def aclose(self) -> None:
        """Stop listening and end what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.aclose()

    @property
    def origin(self) -> str:
        """The scheme, host and port: what an `OktaClient` takes for its domain."""
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://{self._host}:{self._port}"

    @property
    def resource_url(self) -> str:
        """The URL of the protected resource; `?scope=a` demands a scope."""
        return f"{self.origin}/resource"

    # What can be changed while it runs

    def client(self, client_id: str) -> SandboxClient:
        """Return a registered app.

        Raises:
            KeyError: If there is none.
        """
        return self._clients[client_id]

    def put_client(self, client: SandboxClient) -> None:
        """Register an app, in place of one with the same id."""
        self._clients[client.client_id] = client

    def revoke(self, value: str) -> None:
        """Make a token of no use, as an administrator would."""
        if (token := self._register.get(value)) is not None:
            token.revoked = True

    def revoke_all(self) -> None:
        """Make every token of no use."""
        for token in self._register:
            token.revoked = True

    def fail_next(self, *faults: Fault) -> None:
        """Let something go wrong with each of the next token requests, in this order."""
        self._faults.extend(faults)

    @contextmanager
    def outage(self, fault: Fault | None = None) -> Iterator[None]:
        """Let something go wrong with every token request inside of `with`; 503 by default."""
        before, self.fault = self.fault, fault or Fault.status(503)
        try:
            yield
        finally:
            self.fault = before

    # The token endpoint

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.token_requests += 1
        self._concurrency += 1
        self.peak_concurrency = max(self.peak_concurrency, self._concurrency)
        server = request.match_info.get("server")
        window = self._windows[server is None]
        parsed: ParsedRequest | Reply | None = None
        fault: Fault | None = None
        reply = Reply(0, b"", error="connection lost")
        try:
            parsed = await self._parse(request)
            await asyncio.sleep(self._draw_latency())
            fault = self._next_fault()
            reply = self._decide(server, parsed, fault, within_limit=window.count())
            return await self._send(request, reply, window.headers(self.date_offset), fault)
        finally:
            self._concurrency -= 1
            cut = fault is not None and fault.cut_after == 0
            self._note(request, parsed, 0 if cut else reply.status, "cut" if cut else reply.error)

    async def _parse(self, request: web.Request) -> ParsedRequest | Reply:
        body = await request.read()
        if request.method != "POST":
            return okta_error(*METHOD_NOT_ALLOWED)
        return parse_request(
            request.content_type,
            body,
            request.query_string,
            request.headers.getall("Authorization", []),
        )

    def _decide(
        self,
        server: str | None,
        parsed: ParsedRequest | Reply,
        fault: Fault | None,
        *,
        within_limit: bool,
    ) -> Reply:
        if fault is not None and fault.reply is not None:
            return fault.reply
        if self._concurrency_limit is not None and self._concurrency > self._concurrency_limit:
            concurrency = Fault.rate_limited(concurrency=True).reply
            assert concurrency is not None  # noqa: S101 - narrows the type
            return concurrency
        if not within_limit:
            return okta_error(*TOO_MANY_REQUESTS)
        if server is not None and server not in self._servers:
            return okta_error(*NOT_FOUND)
        if isinstance(parsed, Reply):
            return parsed
        client = authenticate(parsed, self._clients)
        if isinstance(client, Reply):
            return client
        scopes = grant(
            parsed.fields,
            client,
            org_server=server is None,
            default_scopes=self._default_scopes,
        )
        return scopes if isinstance(scopes, Reply) else self._issue(client, server, scopes)

    def _issue(self, client: SandboxClient, server: str | None, scopes: frozenset[str]) -> Reply:
        lifetime = self._lifetimes.get(scopes, 3600 if server is None else self._lifetime)
        now = self._wall_time()
        token = self._register.issue(client.client_id, server, scopes, now, lifetime)
        self.tokens_issued += 1
        return json_reply(
            {
                "token_type": "Bearer",
                "expires_in": lifetime,
                "access_token": token.value,
                "scope": " ".join(sorted(scopes)),
            }
        )

    def _draw_latency(self) -> float:
        if isinstance(self.latency, tuple):
            return self._random.uniform(*self.latency)
        return self.latency

    def _next_fault(self) -> Fault | None:
        if self._faults:
            return self._faults.popleft()
        age = self._wall_time() - self._started_at
        if any(start <= age < start + seconds for start, seconds in self.outages):
            return Fault.status(503)
        return self.fault

    def _note(
        self,
        request: web.Request,
        parsed: ParsedRequest | Reply | None,
        status: int,
        error: str | None,
    ) -> None:
        readable = parsed if isinstance(parsed, ParsedRequest) else None
        presented = readable.presented if readable else None
        received = ReceivedRequest(
            at=self._wall_time(),
            path=request.path,
            client_id=presented.client_id if presented else None,
            method=presented.method if presented else None,
            scopes=readable.fields.get("scope", "") if readable else "",
            user_agent=request.headers.get("User-Agent", ""),
            status=status,
            error=error,
        )
        self.received.append(received)
        _LOG.info("%s %s -> %s %s", received.client_id, received.path, status, error or "token")
        if self._on_request is not None:
            self._on_request(received)

    # The other endpoints

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        """Revoke a token of the client's own; 200 also for what is no token (RFC 7009)."""
        found = await self._authenticated(request)
        if isinstance(found, Reply):
            return await self._send(request, found)
        client, parsed = found
        token = self._own_token(parsed, client, request.match_info.get("server"))
        if "token" not in parsed.fields:
            reply = oauth_error(400, "invalid_request", "The token parameter is missing.")
            return await self._send(request, reply)
        if token is not None:
            token.revoked = True
        return await self._send(request, Reply(200, b""))

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        """Tell whether a token of this server is live (RFC 7662)."""
        found = await self._authenticated(request)
        if isinstance(found, Reply):
            return await self._send(request, found)
        client, parsed = found
        token = self._own_token(parsed, client, request.match_info.get("server"))
        if token is None or not token.is_live(self._wall_time()):
            return await self._send(request, json_reply({"active": False}))
        return await self._send(
            request,
            json_reply(
                {
                    "active": True,
                    "client_id": token.client_id,
                    "scope": " ".join(sorted(token.scopes)),
                    "token_type": "Bearer",
                    "iat": int(token.issued_at),
                    "exp": int(token.expires_at),
                }
            ),
        )

    async def _authenticated(
        self, request: web.Request
    ) -> tuple[SandboxClient, ParsedRequest] | Reply:
        server = request.match_info.get("server")
        if server is not None and server not in self._servers:
            return okta_error(*NOT_FOUND)
        parsed = await self._parse(request)
        if isinstance(parsed, Reply):
            return parsed
        client = authenticate(parsed, self._clients)
        return client if isinstance(client, Reply) else (client, parsed)

    def _own_token(
        self, parsed: ParsedRequest, client: SandboxClient, server: str | None
    ) -> IssuedToken | None:
        token = self._register.get(parsed.fields.get("token", ""))
        mine = token is not None and (token.client_id, token.server) == (client.client_id, server)
        return token if mine else None

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        server = request.match_info.get("server")
        if server is not None and server not in self._servers:
            return await self._send(request, okta_error(*NOT_FOUND))
        base = f"{self.origin}/oauth2{f'/{server}' if server else ''}"
        fields = {
            "issuer": base if server else self.origin,
            "token_endpoint": f"{base}/v1/token",
            "revocation_endpoint": f"{base}/v1/revoke",
            "introspection_endpoint": f"{base}/v1/introspect",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": [BASIC, POST],
            "scopes_supported": sorted(
                self._default_scopes.union(*(client.scopes for client in self._clients.values()))
            ),
        }
        return await self._send(request, json_reply(fields))

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        self.resource_calls += 1
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        token = self._register.get(value) if scheme.lower() == "bearer" else None
        now = self._wall_time()
        wanted = frozenset(request.query.get("scope", "").split())
        if token is not None and token.is_live(now) and wanted <= token.scopes:
            return await self._send(request, json_reply({"client_id": token.client_id}))
        self.resource_refused += 1
        if not value:
            return await self._send(request, _challenge(401, ""))
        if token is None or not token.is_live(now):
            self.expired_tokens_seen += token is not None and now >= token.expires_at
            return await self._send(request, _challenge(401, ', error="invalid_token"'))
        return await self._send(request, _challenge(403, ', error="insufficient_scope"'))

    # Sending

    async def _send(
        self,
        request: web.Request,
        reply: Reply,
        headers: Mapping[str, str] | None = None,
        fault: Fault | None = None,
    ) -> web.StreamResponse:
        response = web.Response(
            status=reply.status,
            body=reply.body,
            headers={
                "Date": formatdate(self._wall_time() + self.date_offset, usegmt=True),
                "X-Okta-Request-Id": token_urlsafe(20),
                "Cache-Control": "no-store",
                "Content-Type": reply.content_type,
                **(headers or {}),
                **reply.headers,
            },
        )
        if fault is not None and (fault.cut_after is not None or fault.seconds_per_byte):
            return await self._send_badly(request, response, reply.body, fault)
        return response

    async def _send_badly(
        self, request: web.Request, response: web.Response, body: bytes, fault: Fault
    ) -> web.StreamResponse:
        """Cut the connection after so many bytes, or send them one by one."""
        cut = fault.cut_after
        if cut != 0:
            stream = web.StreamResponse(status=response.status, headers=response.headers)
            stream.content_length = len(body)
            await stream.prepare(request)
            for byte in body[:cut]:
                await stream.write(bytes([byte]))
                await asyncio.sleep(fault.seconds_per_byte)
            if cut is None:
                await stream.write_eof()
                return stream
        if request.transport is not None:
            request.transport.abort()
        return response


def _challenge(status: int, error: str) -> Reply:
    headers = {"WWW-Authenticate": f'Bearer realm="sandbox"{error}'}
    return Reply(status, b"", headers=headers, error=str(status))
