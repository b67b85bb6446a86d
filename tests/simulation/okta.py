"""An Okta in memory, which replaces the provider's `aiohttp.ClientSession`.

It has the faults of the script, and reports its requests and responses to the referee.
"""

from __future__ import annotations

import asyncio
import json
import math
from base64 import b64decode, urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from random import Random
from urllib.parse import parse_qs, urlsplit

import aiohttp
from multidict import CIMultiDict

from tests.simulation.machine import Machine
from tests.simulation.referee import Referee
from tests.simulation.referee_state import KeyState
from tests.simulation.script import FAULTS
from tests.streams import Stream

QUOTA = 1_200
"""Token requests per minute for the org server, and the same number for all custom servers."""
CONCURRENCY = 75
"""Concurrent requests of a domain."""


@dataclass(slots=True)
class App:
    """A client's settings in Okta."""

    lifetime: int
    secret: int = 0
    """The number of the current secret."""
    oldest_secret: int = 0
    """The number of the oldest valid secret."""
    secret_expires_at: float = math.inf
    """When the secrets before the current one expire, in seconds of the event loop's time."""
    disabled_until: float = 0.0
    last_proof: str = ""


@dataclass(slots=True)
class Domain:
    """An Okta domain."""

    random: Random
    faults: dict[str, float] = field(default_factory=dict)
    """The end of each fault, in seconds of the event loop's time."""
    clock_offset: float = 0.0
    quota: int = QUOTA
    concurrency: int = CONCURRENCY
    under_way: int = 0
    """Requests under way."""
    minute: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    received: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    """Requests of that minute: of the org server (`True`) and of the custom servers (`False`)."""


class Okta:
    """Every Okta domain of the simulation.

    Args:
        machine: Gives the true time.
        referee: Receives reports of requests and responses.
        apps: The clients by the number of their key.
        domains: The domains by number.
    """

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def __init__(
        self, machine: Machine, referee: Referee, apps: dict[int, App], domains: dict[int, Domain]
    ) -> None:
        self._machine = machine
        self._referee = referee
        self._loop = asyncio.get_running_loop()
        self.apps = apps
        self.domains = domains
        self._issued = 0

    def post(
        self, url: str, *, data: bytes, headers: Mapping[str, str], **_: object
    ) -> _ReceivedRequest:
        """Return a request as a context manager, as aiohttp does."""
        return _ReceivedRequest(self, url, data, headers)

    async def respond(self, request: _ReceivedRequest) -> _Response:
        """Return a response after the latency, or fail as a connection fails."""
        domain = request.domain
        latency = 0.03 + domain.random.expovariate(1 / 0.05)
        fault = self._fault_of(domain)
        if fault == "slow":
            latency += domain.random.uniform(0.5, 9)
        self._referee.count(fault or "no fault")
        # Either the request or the response takes all the time, so that one sleep is enough.
        delay_request = domain.random.random() < 0.5
        if delay_request:
            await asyncio.sleep(latency)
        if fault == "refuse":
            raise aiohttp.ClientOSError(111, "refused")
        if fault == "hang":
            await self._loop.create_future()
        response = self._response(request, fault)
        if not delay_request:
            await asyncio.sleep(latency)
        if fault == "reset":
            raise aiohttp.ServerDisconnectedError
        return response

    def _fault_of(self, domain: Domain) -> str | None:
        """Return the domain's present fault, or sometimes a fault of this request only."""
        now = self._loop.time()
        for fault, until in domain.faults.items():
            if now < until:
                return fault
        return domain.random.choice(FAULTS) if domain.random.random() < 0.005 else None

    def _response(self, request: _ReceivedRequest, fault: str | None) -> _Response:
        """Return the response in Okta's order: the limits, then the client, then the token."""
        if fault == "error":
            return self._okta_response(request, 500, {"errorCode": "E0000009", "errorSummary": "?"})
        if fault in _NOT_OKTA:
            status, body = _NOT_OKTA[fault]
            return _Response(status, CIMultiDict(Location="https://elsewhere.example"), body)
        if (limited := self._rate_limit_response(request)) is not None:
            return limited
        if request.key.plan.dpop and (demand := self._nonce_demand(request)) is not None:
            return demand
        if not self._accepts_secret(request):
            error = {"error": "invalid_client", "error_description": "No such secret."}
            return self._okta_response(request, 401, error)
        return self._token_response(request, fault)

    def _rate_limit_response(self, request: _ReceivedRequest) -> _Response | None:
        """Return a 429 if too many requests are under way, or were sent in this minute."""
        domain, org_server = request.domain, request.key.plan.org_server
        now = self._machine.true_time() + domain.clock_offset
        minute = int(now // 60)
        if domain.minute[org_server] != minute:
            domain.minute[org_server], domain.received[org_server] = minute, 0
        domain.received[org_server] += 1
        headers = {"X-Rate-Limit-Reset": str(60 * (minute + 1)), "X-Rate-Limit-Limit": "0"}
        if domain.under_way > domain.concurrency:
            return self._okta_response(request, 429, _TOO_MANY, headers)
        if domain.received[org_server] > domain.quota:
            headers["X-Rate-Limit-Limit"] = str(domain.quota)
            return self._okta_response(request, 429, _TOO_MANY, headers)
        return None

    def _nonce_demand(self, request: _ReceivedRequest) -> _Response | None:
        """Return a refusal if a proof has no valid nonce.

        Each day has its own nonce, which is valid for three more days, but not on or after the
        next day whose number is divisible by ten.
        """
        claims = json.loads(urlsafe_b64decode(request.headers["DPoP"].split(".")[1] + "=="))
        assert claims["jti"] != request.app.last_proof, "a proof was sent twice"
        request.app.last_proof = claims["jti"]
        day = self._nonce(request.domain)
        oldest = max(day - 3, day // 10 * 10)
        if int(claims.get("nonce", -1)) in range(oldest, day + 1):
            return None
        self._referee.nonce_demanded(request.key, range(oldest, day + 1))
        return self._okta_response(request, 400, {"error": "use_dpop_nonce"})

    def _nonce(self, domain: Domain) -> int:
        return int((self._machine.true_time() + domain.clock_offset) // 86_400)

    def _accepts_secret(self, request: _ReceivedRequest) -> bool:
        """Tell whether the request's secret is valid, and the client is active."""
        app, now = request.app, self._loop.time()
        if now >= app.secret_expires_at:
            app.oldest_secret, app.secret_expires_at = app.secret, math.inf
        scheme, _, credentials = request.headers["Authorization"].partition(" ")
        _, _, secret = b64decode(credentials).decode().partition(":")
        number = int(secret.rpartition("-")[2])
        return (
            scheme == "Basic"
            and app.oldest_secret <= number <= app.secret
            and now >= app.disabled_until
        )

    def _token_response(self, request: _ReceivedRequest, fault: str | None) -> _Response:
        self._issued += 1
        lifetime = 0 if fault == "stale" else request.app.lifetime
        value = f"token-{request.key.plan.number}-{self._issued}"
        response = self._okta_response(
            request,
            200,
            {
                "access_token": value,
                "token_type": "DPoP" if request.key.plan.dpop else "Bearer",
                # Some servers send a string.
                "expires_in": str(lifetime) if self._issued % 10 == 0 else lifetime,
                "scope": request.scope,
            },
        )
        if fault == "truncate":
            response.stop_after = len(response.body) // 2
        elif fault == "drip":
            response.pause = 4.0
        elif lifetime:
            response.issued = value, lifetime
        return response

    def _okta_response(
        self,
        request: _ReceivedRequest,
        status: int,
        fields: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> _Response:
        """Return a response of Okta itself, with a `Date`."""
        now = self._machine.true_time() + request.domain.clock_offset
        sent = CIMultiDict({"Date": formatdate(now, usegmt=True), **(headers or {})})
        if request.key.plan.dpop:
            sent["DPoP-Nonce"] = str(self._nonce(request.domain))
        return _Response(status, sent, json.dumps(fields).encode())


_NOT_OKTA = {
    "unavailable": (503, b"<html>503</html>"),
    "junk": (200, b"<html>Welcome to this hotel</html>"),
    "redirect": (302, b""),
}
_TOO_MANY = {"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit"}


@cache
def _parse_request(url: str, data: bytes) -> tuple[int, int]:
    """Return the numbers of a request's domain and key."""
    form = parse_qs(data.decode())
    host = urlsplit(url).hostname or ""
    assert form["grant_type"] == ["client_credentials"]
    return (
        int(host.removeprefix("okta").removesuffix(".example")),
        int(form["scope"][0].removeprefix("key")),
    )


class _ReceivedRequest:
    """A request, from its first byte to the end of its response."""

    def __init__(self, okta: Okta, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        domain, number = _parse_request(url, data)
        self.scope = f"key{number}"
        self.headers = headers
        self._okta = okta
        self.key: KeyState = okta._referee.keys[number]
        self.app = okta.apps[number]
        self.domain = okta.domains[domain]
        self._response: _Response | None = None

    async def __aenter__(self) -> _Response:
        okta = self._okta
        okta._referee.request_sent(self.key)
        self.domain.under_way += 1
        try:
            self._response = await okta.respond(self)
        except BaseException as error:
            self._end(error)
            raise
        return self._response

    async def __aexit__(self, kind: object, error: BaseException | None, frame: object) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self.domain.under_way -= 1
        response = self._response
        if error is None and response is not None:
            self._okta._referee.response_received(
                self.key, response.status, response.headers, response.issued
            )
        else:
            self._okta._referee.attempt_aborted(self.key, error)


class _Response:
    """The parts of `aiohttp.ClientResponse` that the provider uses."""

    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.stop_after: int | None = None
        self.pause = 0.0
        self.issued: tuple[str, int] | None = None
        """The token in it and its lifetime in seconds, if the response arrives completely."""

    @property
    def content(self) -> Stream:
        """The stream of the body."""
        return Stream(self._parts())

    def close(self) -> None:
        """Do nothing, because there is no connection."""

    async def _parts(self) -> AsyncIterator[bytes]:
        """Yield the body, or a part of it and then an error."""
        if self.pause:
            for byte in self.body:
                await asyncio.sleep(self.pause)
                yield bytes([byte])
        elif self.stop_after is not None:
            yield self.body[: self.stop_after]
            raise aiohttp.ClientPayloadError("the connection broke")
        else:
            yield self.body
