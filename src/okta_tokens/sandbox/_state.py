"""The sandbox without its sockets: what it is configured as, what it counted, what it is told."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from okta_tokens.sandbox._clients import DEFAULT_CLIENT, SandboxClient, scope_set
from okta_tokens.sandbox._counters import Counters
from okta_tokens.sandbox._evidence import Evidence
from okta_tokens.sandbox._faults import DEFAULT_OUTAGE, Fault, FaultPlan
from okta_tokens.sandbox._limits import RateWindow
from okta_tokens.sandbox._model import ReceivedRequest, TokenRegistry
from okta_tokens.sandbox._rules import Policy

ORG_LIFETIME: Final = 3600
"""Seconds that a token of the org server lives; in Okta it is fixed."""

RESOURCE: Final = "/resource"
"""The path of the protected resource."""

_NO_LIFETIMES: Mapping[str, int] = MappingProxyType({})


class SandboxState(Counters):
    """Everything about a sandbox but the network. `Sandbox` documents what is public of it."""

    def __init__(  # noqa: PLR0913 — all that a server can be, said once and by keyword
        self,
        clients: Iterable[SandboxClient] = (DEFAULT_CLIENT,),
        *,
        authorization_servers: Iterable[str] = ("default",),
        default_scopes: Iterable[str] = (),
        lifetime: int = 3600,
        lifetimes: Mapping[str, int] = _NO_LIFETIMES,
        rate_limit: int | None = None,
        rate_window: float = 60.0,
        concurrency_limit: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        wall_time: Callable[[], float] = time.time,
        on_request: Callable[[ReceivedRequest], None] | None = None,
        seed: int | None = None,
        signed_tokens: bool = False,
        dpop_nonce_lifetime: float = 86_400.0,
        resource_nonce: bool = False,
    ) -> None:
        super().__init__()
        self.host = host
        self.port = port
        self.ssl_context = ssl_context
        self.wall_time = wall_time
        self.on_request = on_request
        self.authorization_servers = frozenset(authorization_servers)
        self.concurrency_limit = concurrency_limit
        self.latency: float | tuple[float, float] = 0.0
        self.date_offset = 0.0
        self.started_at = wall_time()
        self.tokens = TokenRegistry()
        self.faults = FaultPlan()
        self.evidence = Evidence(self.authorization_servers, dpop_nonce_lifetime)
        self.nonce_on_every_answer = True
        self.resource_nonce = resource_nonce
        self.signing_key = None
        if signed_tokens:
            # The extra is loaded where it is needed, and not before.
            from okta_tokens.sandbox._keys import SigningKey  # noqa: PLC0415

            self.signing_key = SigningKey()

        self._clients = {client.client_id: client for client in clients}
        self._default_scopes = tuple(dict.fromkeys(default_scopes))
        scope_set(self._default_scopes)
        self._lifetime = lifetime
        self._lifetimes = {scope_set(scopes): seconds for scopes, seconds in lifetimes.items()}
        if min(lifetime, *self._lifetimes.values(), 1) < 1:
            raise ValueError("a lifetime is at least one second")
        if dpop_nonce_lifetime <= 0:
            raise ValueError("a nonce has a lifetime of more than no seconds")
        self._windows = {org: RateWindow(rate_limit, rate_window) for org in (True, False)}
        self._rng = random.Random(seed)  # noqa: S311 — latencies are no secret
        self._policies = self._new_policies()

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as ``http://127.0.0.1:41234``; still so after closing.

        Raises:
            RuntimeError: The sandbox takes a free port and was not started yet.
        """
        if not self.port:
            raise RuntimeError("the sandbox has no origin before it is started")
        scheme = "http" if self.ssl_context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def resource_url(self) -> str:
        """The URL of the protected resource.

        Raises:
            RuntimeError: The sandbox takes a free port and was not started yet.
        """
        return self.origin + RESOURCE

    def now(self) -> float:
        """Return the time by the server's clock, which may be off, in seconds since the epoch."""
        return self.wall_time() + self.date_offset

    # Clients and tokens

    @property
    def clients(self) -> Mapping[str, SandboxClient]:
        """The known clients by id, read-only."""
        return MappingProxyType(self._clients)

    def client(self, client_id: str) -> SandboxClient:
        """Return the client with this id.

        Raises:
            KeyError: There is none.
        """
        return self._clients[client_id]

    def put_client(self, client: SandboxClient) -> None:
        """Add a client, or replace the one with its id, at once.

        Issued tokens stay live when secrets or scopes change; as in Okta, they are revoked when
        the client is no longer active.
        """
        self._clients[client.client_id] = client
        self._policies = self._new_policies()
        if not client.active:
            self.tokens_revoked += self.tokens.revoke_all(client.client_id)

    def revoke(self, value: str) -> bool:
        """Revoke the token with this value; return whether that made a difference."""
        revoked = self.tokens.revoke(value)
        self.tokens_revoked += revoked
        return revoked

    def revoke_all(self) -> int:
        """Revoke every token that was issued so far; return how many were revoked by it."""
        revoked = self.tokens.revoke_all()
        self.tokens_revoked += revoked
        return revoked

    # Nonces

    def dpop_nonce(self, authorization_server: str | None = "default") -> str:
        """Return the nonce that an authorization server wants in DPoP proofs now.

        Args:
            authorization_server: Its id; ``None`` is the org server.

        Raises:
            KeyError: There is none with this id.
        """
        return self.evidence.nonces[authorization_server].current(self.now())

    def rotate_dpop_nonce(self, *, forget: bool = False) -> None:
        """Replace the nonces of all authorization servers and of the resource.

        Args:
            forget: Whether the old ones are no longer accepted, instead of for a while.
        """
        self.evidence.rotate(self.now(), forget=forget)

    # Faults

    @property
    def fault(self) -> Fault | None:
        """What befalls every token request until it is set to ``None``."""
        return self.faults.lasting

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.faults.lasting = fault

    @property
    def outage_windows(self) -> Sequence[tuple[float, float]]:
        """Outages by time table: seconds after the start, and how many seconds each lasts."""
        return self.faults.windows

    @outage_windows.setter
    def outage_windows(self, windows: Sequence[tuple[float, float]]) -> None:
        self.faults.windows = tuple(windows)

    def fail_next(self, *faults: Fault) -> None:
        """Queue faults. Each of the next token requests gets one, in this order."""
        self.faults.queue.extend(faults)

    @contextmanager
    def outage(self, fault: Fault = DEFAULT_OUTAGE) -> Iterator[None]:
        """Return a context manager within which every token request meets `fault`."""
        before, self.fault = self.fault, fault
        try:
            yield
        finally:
            self.fault = before

    def delay(self) -> float:
        """Return the latency of one answer in seconds."""
        if isinstance(self.latency, tuple):
            return self._rng.uniform(*self.latency)
        return self.latency

    # Policies

    def policy(self, authorization_server: str | None) -> Policy:
        """Return what an authorization server grants; ``None`` is the org server."""
        return self._policies[authorization_server is None]

    def window(self, authorization_server: str | None) -> RateWindow:
        """Return the rate window that an authorization server's token requests count in."""
        return self._windows[authorization_server is None]

    def token_lifetime(self, authorization_server: str | None, scopes: Iterable[str]) -> int:
        """Return how many seconds a token lives."""
        usual = ORG_LIFETIME if authorization_server is None else self._lifetime
        return self._lifetimes.get(frozenset(scopes), usual)

    def _new_policies(self) -> dict[bool, Policy]:
        scopes = {scope for client in self._clients.values() for scope in client.scopes}
        okta = frozenset(scope for scope in scopes if scope.startswith("okta."))
        custom = (scopes - okta).union(self._default_scopes)
        return {
            True: Policy(org=True, known_scopes=okta),
            False: Policy(
                org=False, known_scopes=frozenset(custom), default_scopes=self._default_scopes
            ),
        }
