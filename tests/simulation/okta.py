"""An Okta in memory, in place of the network: what a provider needs of `aiohttp.ClientSession`.

It goes wrong as the script says, and tells the referee what it received and what it sent.
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

from tests.simulation.books import Key
from tests.simulation.machine import Machine
from tests.simulation.referee import Referee
from tests.simulation.script import FAULTS

QUOTA = 1_200
"""Token requests a minute, for the org's own server and for the custom ones together."""
CROWD = 75
"""Requests at once."""


@dataclass(slots=True)
class App:
    """A client as Okta knows it."""

    lifetime: int
    secret: int = 0
    """The number of the present secret."""
    oldest_secret: int = 0
    """The number of the oldest that still works."""
    secret_expires_at: float = math.inf
    """When the ones before the present one stop to work."""
    disabled_until: float = 0.0
    last_proof: str = ""


@dataclass(slots=True)
class Domain:
    """An Okta domain."""

    random: Random
    faults: dict[str, float] = field(default_factory=dict)
    """Until when each fault lasts, in seconds of the event loop's time."""
    clock_offset: float = 0.0
    quota: int = QUOTA
    crowd: int = CROWD
    inside: int = 0
    """Requests at this moment."""
    minute: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    received: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    """Requests of this minute, of the org's own server and of the custom ones."""


class Okta:
    """All of Okta that there is.

    Args:
        machine: Whose universe it shares; not its clocks.
        referee: Who is told everything.
        apps: By the number of their key.
        domains: By number.
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

    async def answer(self, request: _ReceivedRequest) -> _Response:
        """Take so long as it takes, and answer; or fail as a connection fails."""
        domain = request.domain
        latency = 0.03 + domain.random.expovariate(1 / 0.05)
        fault = self._fault_of(domain)
        if fault == "slow":
            latency += domain.random.uniform(0.5, 9)
        self._referee.saw(fault or "nothing wrong")
        # Either the way there takes all the time or the way back, so that one sleep is enough.
        there = domain.random.random() < 0.5
        if there:
            await asyncio.sleep(latency)
        if fault == "refuse":
            raise aiohttp.ClientOSError(111, "refused")
        if fault == "hang":
            await self._loop.create_future()
        response = self._respond(request, fault)
        if not there:
            await asyncio.sleep(latency)
        if fault == "reset":
            raise aiohttp.ServerDisconnectedError
        return response

    def _fault_of(self, domain: Domain) -> str | None:
        """Return what is wrong; sometimes for a single request."""
        now = self._loop.time()
        for fault, until in domain.faults.items():
            if now < until:
                return fault
        return domain.random.choice(FAULTS) if domain.random.random() < 0.005 else None

    def _respond(self, request: _ReceivedRequest, fault: str | None) -> _Response:
        """Decide as Okta does: first its limits, then the client, then the token."""
        if fault == "error":
            return self._answer(request, 500, {"errorCode": "E0000009", "errorSummary": "?"})
        if fault in _NOT_OKTA:
            status, body = _NOT_OKTA[fault]
            return _Response(status, CIMultiDict(Location="https://elsewhere.example"), body)
        if (limited := self._limit(request)) is not None:
            return limited
        if request.key.plan.bound and (asked := self._ask_for_nonce(request)) is not None:
            return asked
        if not self._knows(request):
            wrong = {"error": "invalid_client", "error_description": "No such secret."}
            return self._answer(request, 401, wrong)
        return self._grant(request, fault)

    def _limit(self, request: _ReceivedRequest) -> _Response | None:
        """Return a 429 if there are too many requests, at once or in this minute."""
        domain, side = request.domain, request.key.plan.org_server
        now = self._machine.universe_time() + domain.clock_offset
        minute = int(now // 60)
        if domain.minute[side] != minute:
            domain.minute[side], domain.received[side] = minute, 0
        domain.received[side] += 1
        reset = {"X-Rate-Limit-Reset": str(60 * (minute + 1))}
        if domain.inside > domain.crowd:
            return self._answer(request, 429, _TOO_MANY, reset | {"X-Rate-Limit-Limit": "0"})
        if domain.received[side] > domain.quota:
            told = reset | {"X-Rate-Limit-Limit": str(domain.quota)}
            return self._answer(request, 429, _TOO_MANY, told)
        return None

    def _ask_for_nonce(self, request: _ReceivedRequest) -> _Response | None:
        """Return a refusal of a proof without a nonce that still works.

        Each day has another; it works for three days more, unless there was a tenth meanwhile.
        """
        claims = json.loads(urlsafe_b64decode(request.headers["DPoP"].split(".")[1] + "=="))
        assert claims["jti"] != request.app.last_proof, "a proof was sent twice"
        request.app.last_proof = claims["jti"]
        day = self._nonce(request.domain)
        oldest = max(day - 3, day // 10 * 10)
        if int(claims.get("nonce", -1)) in range(oldest, day + 1):
            return None
        self._referee.wants_nonce(request.key, range(oldest, day + 1))
        return self._answer(request, 400, {"error": "use_dpop_nonce"})

    def _nonce(self, domain: Domain) -> int:
        return int((self._machine.universe_time() + domain.clock_offset) // 86_400)

    def _knows(self, request: _ReceivedRequest) -> bool:
        """Tell whether the request's secret is right."""
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

    def _grant(self, request: _ReceivedRequest, fault: str | None) -> _Response:
        self._issued += 1
        lifetime = 0 if fault == "stale" else request.app.lifetime
        value = f"token-{request.key.plan.number}-{self._issued}"
        response = self._answer(
            request,
            200,
            {
                "access_token": value,
                "token_type": "DPoP" if request.key.plan.bound else "Bearer",
                # Some servers spell it as a string.
                "expires_in": str(lifetime) if self._issued % 10 == 0 else lifetime,
                "scope": request.scope,
            },
        )
        if fault == "truncate":
            response.stop_after = len(response.body) // 2
        elif fault == "drip":
            response.pause = 4.0
        elif lifetime:
            response.grants = value, lifetime
        return response

    def _answer(
        self,
        request: _ReceivedRequest,
        status: int,
        fields: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> _Response:
        """Return an answer of Okta's own, with its `Date`."""
        now = self._machine.universe_time() + request.domain.clock_offset
        told = CIMultiDict({"Date": formatdate(now, usegmt=True), **(headers or {})})
        if request.key.plan.bound:
            told["DPoP-Nonce"] = str(self._nonce(request.domain))
        return _Response(status, told, json.dumps(fields).encode())


_NOT_OKTA = {
    "unavailable": (503, b"<html>503</html>"),
    "junk": (200, b"<html>Welcome to this hotel</html>"),
    "redirect": (302, b""),
}
_TOO_MANY = {"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit"}


@cache
def _read(url: str, data: bytes) -> tuple[int, int]:
    """Return the numbers of the domain and of the key that a request is about."""
    form = parse_qs(data.decode())
    host = urlsplit(url).hostname or ""
    assert form["grant_type"] == ["client_credentials"]
    return (
        int(host.removeprefix("okta").removesuffix(".example")),
        int(form["scope"][0].removeprefix("key")),
    )


class _ReceivedRequest:
    """One request, from its first byte to the end of its answer."""

    def __init__(self, okta: Okta, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        domain, number = _read(url, data)
        self.scope = f"key{number}"
        self.headers = headers
        self._okta = okta
        self.key: Key = okta._referee.keys[number]
        self.app = okta.apps[number]
        self.domain = okta.domains[domain]
        self._response: _Response | None = None

    async def __aenter__(self) -> _Response:
        okta = self._okta
        okta._referee.sends(self.key)
        self.domain.inside += 1
        try:
            self._response = await okta.answer(self)
        except BaseException as error:
            self._end(error)
            raise
        return self._response

    async def __aexit__(self, kind: object, error: BaseException | None, frame: object) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self.domain.inside -= 1
        response = self._response
        if error is None and response is not None:
            self._okta._referee.answered(
                self.key, response.status, response.headers, response.grants
            )
        else:
            self._okta._referee.broke(self.key, error)


class _Response:
    """What aiohttp would hand to the provider."""

    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.stop_after: int | None = None
        self.pause = 0.0
        self.grants: tuple[str, int] | None = None
        """The token in it and its lifetime, if the whole of it arrives."""

    @property
    def content(self) -> _Response:
        """Itself: it is a stream, too."""
        return self

    def close(self) -> None:
        """Do nothing: there is no connection."""

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield the body, or break off."""
        if self.pause:
            for byte in self.body:
                await asyncio.sleep(self.pause)
                yield bytes([byte])
        elif self.stop_after is not None:
            yield self.body[: self.stop_after]
            raise aiohttp.ClientPayloadError("the connection broke")
        else:
            yield self.body
