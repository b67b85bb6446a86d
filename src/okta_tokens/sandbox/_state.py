"""The state of a sandbox without its socket: options, clients, tokens, faults and policies."""

from __future__ import annotations

import random
import ssl
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, Unpack

from okta_tokens.sandbox._access_policy import AccessPolicy
from okta_tokens.sandbox._assertions import matching, table
from okta_tokens.sandbox._clients import DEFAULT_CLIENT, SandboxClient, scope_set
from okta_tokens.sandbox._counters import Counters
from okta_tokens.sandbox._exposure import exposure
from okta_tokens.sandbox._faults import DEFAULT_OUTAGE, Fault, FaultPlan, Timed
from okta_tokens.sandbox._issued_tokens import TokenRegistry
from okta_tokens.sandbox._rate_limits import RateWindow
from okta_tokens.sandbox._received_request import ReceivedRequest
from okta_tokens.sandbox._settings import Settings, check_names
from okta_tokens.sandbox._verification import Verifier

if TYPE_CHECKING:
    from okta_tokens.sandbox._keys import SigningKey

ORG_LIFETIME: Final = 3600
"""The lifetime of an org server's token in seconds. Okta fixes it."""

RESOURCE: Final = "/resource"
"""The path of the protected resource."""

Latency: TypeAlias = float | tuple[float, float]
"""Seconds, or a range of seconds from which each response gets its own latency."""

_NO_LIFETIMES: Mapping[str, int] = MappingProxyType({})


class SandboxState(Counters):
    """The state of a sandbox. `Sandbox` documents the public part."""

    def __init__(  # noqa: PLR0913 — every option of a sandbox, by keyword
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
        control: bool = False,
        on_control: Callable[[str], None] | None = None,
        seed: int | None = None,
        signed_tokens: bool = False,
        dpop_nonce_lifetime: float = 86_400.0,
        resource_nonce: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(authorization_servers, str) or isinstance(default_scopes, str):
            raise ValueError(  # noqa: TRY004 — the same error as for every other invalid value
                "authorization_servers or default_scopes is a string. Use a list of strings."
            )
        _check_numbers(
            lifetime=lifetime,
            rate_limit=rate_limit,
            rate_window=rate_window,
            concurrency_limit=concurrency_limit,
            port=port,
            dpop_nonce_lifetime=dpop_nonce_lifetime,
        )
        warning = exposure(host, tls=ssl_context is not None)
        if warning is not None:
            warnings.warn(warning, stacklevel=2)
        self.host = host
        self.port: int = port
        self.ssl_context = ssl_context
        self.wall_time = wall_time
        self.on_request = on_request
        self.control = control
        self.on_control = on_control
        self.authorization_servers: frozenset[str] = frozenset(authorization_servers)
        self.concurrency_limit = concurrency_limit
        self.latency: Latency = 0.0
        self._timed_latency: Timed[Latency] | None = None
        self.date_offset: float = 0.0
        self.started_at: float = wall_time()
        self.tokens: TokenRegistry = TokenRegistry()
        self.faults: FaultPlan = FaultPlan()
        self.verifier: Verifier = Verifier(self.authorization_servers, dpop_nonce_lifetime)
        self.nonce_on_every_answer = True
        self.resource_nonce = resource_nonce
        self.signing_key: SigningKey | None = None
        if signed_tokens:
            # The extra is imported only when it is needed.
            from okta_tokens.sandbox._keys import SigningKey  # noqa: PLC0415

            self.signing_key = SigningKey()

        self._clients = {client.client_id: client for client in clients}
        self._default_scopes = tuple(dict.fromkeys(default_scopes))
        scope_set(self._default_scopes)
        self._lifetime = lifetime
        self._lifetimes = {scope_set(scopes): seconds for scopes, seconds in lifetimes.items()}
        _check_lifetimes(lifetime, *self._lifetimes.values())
        if dpop_nonce_lifetime <= 0:
            raise ValueError(
                f"dpop_nonce_lifetime is {dpop_nonce_lifetime}, which is not positive. "
                "Use more than 0 seconds."
            )
        self._windows = {org: RateWindow(rate_limit, rate_window) for org in (True, False)}
        self._rng = random.Random(seed)  # noqa: S311 — latencies are not secret
        self._policies = self._new_policies()

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as ``http://127.0.0.1:41234``, also after closing.

        Raises:
            RuntimeError: The port is 0 and the sandbox was not started yet.
        """
        if not self.port:
            raise RuntimeError(
                "The sandbox has no origin before it is started, because its port is 0. "
                "Start it first, or choose a port."
            )
        scheme = "http" if self.ssl_context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def resource_url(self) -> str:
        """The URL of the protected resource.

        Raises:
            RuntimeError: The port is 0 and the sandbox was not started yet.
        """
        return self.origin + RESOURCE

    def now(self) -> float:
        """Return the server's time, `date_offset` included, in seconds since the epoch."""
        return self.wall_time() + self.date_offset

    @property
    def lifetime(self) -> int:
        """The lifetime of a custom server's next token in seconds.

        Raises:
            ValueError: The value to set is not a number, or less than one.
        """
        return self._lifetime

    @lifetime.setter
    def lifetime(self, seconds: int) -> None:
        _check_numbers(lifetime=seconds)
        _check_lifetimes(seconds)
        self._lifetime = seconds

    @property
    def rate_limit(self) -> int | None:
        """The number of token requests per window; ``None`` enforces no limit.

        Raises:
            ValueError: The value to set is not a number.
        """
        return self._windows[True].limit

    @rate_limit.setter
    def rate_limit(self, limit: int | None) -> None:
        _check_numbers(rate_limit=limit)
        with self.lock:
            for window in self._windows.values():
                window.limit = limit

    # Clients and tokens

    @property
    def clients(self) -> Mapping[str, SandboxClient]:
        """The clients that are known now, by id, read-only."""
        return MappingProxyType(self._clients)

    def client(self, client_id: str) -> SandboxClient:
        """Return the client with this id.

        Raises:
            KeyError: The client is unknown.
        """
        return self._clients[client_id]

    def put_client(self, client: SandboxClient) -> None:
        """Add a client, or replace the client with the same id, from the next request on.

        The client's tokens stay live if its secrets or scopes change. They are revoked if the
        client becomes inactive, as in Okta.
        """
        with self.lock:
            self._clients = {**self._clients, client.client_id: client}
            self._policies = self._new_policies()
            if not client.active:
                self._count_revoked(self.tokens.revoke_all(client.client_id))

    def rotate_secret(
        self, client_id: str | None = None, *, keep_old: bool = False, secret: str | None = None
    ) -> str:
        """Replace a client's secret, from the next request on. The client's tokens stay live.

        Args:
            client_id: The client's id; ``None`` is the only client.
            keep_old: Whether the newest of the old secrets stays active, too, as in Okta until an
                administrator deactivates it.
            secret: The new secret; ``None`` makes a random one.

        Returns:
            The new secret.

        Raises:
            KeyError: The client is unknown.
            ValueError: `client_id` is ``None`` and there is not exactly one client; the client has
                keys instead of a secret; `secret` is empty or has a character that is not printable
                ASCII.
        """
        if client_id is None:
            if len(self._clients) != 1:
                raise ValueError(
                    "rotate_secret: client_id is missing, and the sandbox does not have exactly "
                    "one client. Name the client."
                )
            (client_id,) = self._clients
        with self.lock:
            client = self.client(client_id).with_new_secret(secret, keep_old=keep_old)
            self.put_client(client)
        return client.secrets[0]

    def revoke(self, value: str) -> bool:
        """Revoke the token with this value; return whether it was known and not yet revoked."""
        with self.lock:
            revoked = self.tokens.revoke(value)
            self._count_revoked(revoked)
        return revoked

    def revoke_all(self) -> int:
        """Revoke every issued token; return how many tokens this call revoked."""
        with self.lock:
            revoked = self.tokens.revoke_all()
            self._count_revoked(revoked)
        return revoked

    def secrets(self) -> Iterator[tuple[str, str]]:
        """Yield what each secret is, and the secret: the clients' secrets, and the tokens."""
        for client in self.clients.values():
            for secret in client.secrets:
                yield "a client secret of a sandbox", secret
        for token in self.tokens.values():
            yield "an access token of a sandbox", token.value

    # Nonces

    def dpop_nonce(self, authorization_server: str | None = "default") -> str:
        """Return the nonce that an authorization server requires in DPoP proofs now.

        Args:
            authorization_server: The id of the server; ``None`` is the org server.

        Raises:
            KeyError: The authorization server does not exist.
        """
        with self.lock:
            return self.verifier.nonces[authorization_server].current(self.now())

    def rotate_dpop_nonce(self, *, forget: bool = False) -> None:
        """Replace the nonces of all authorization servers and of the resource.

        Args:
            forget: Whether the server stops accepting the old nonces at once.
        """
        with self.lock:
            self.verifier.rotate_nonces(self.now(), forget=forget)

    # Assertions

    def assert_received(
        self,
        count: int,
        *,
        scopes: str | Iterable[str] | None = None,
        client_id: str | None = None,
        status: int | None = None,
        path: str | None = None,
    ) -> None:
        """Check how many token requests with all given properties are in `received`.

        Args:
            count: The expected number.
            scopes: The requested scopes, in any order; a string is separated by spaces.
            client_id: The id of the client.
            status: The status of the response.
            path: The path, of another endpoint if need be; ``None`` is the token endpoint of any
                authorization server.

        Raises:
            AssertionError: The number is another one. The message lists the received requests.
            ValueError: A scope is malformed.
        """
        __tracebackhide__ = True
        received = self.received
        matched = matching(received, scopes=scopes, client_id=client_id, status=status, path=path)
        if len(matched) != count:
            raise AssertionError(
                f"assert_received: {len(matched)} requests match, and {count} are expected. "
                "Compare the received requests; a * marks those that match.\n"
                f"{table(received, matched)}"
            )

    # Faults

    @property
    def fault(self) -> Fault | None:
        """The fault of every token request; ``None`` ends it."""
        return self.faults.lasting

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.faults.lasting = fault

    @property
    def outage_windows(self) -> Sequence[tuple[float, float]]:
        """The planned outages, each as (seconds after the start, seconds that it lasts)."""
        return self.faults.windows

    @outage_windows.setter
    def outage_windows(self, windows: Sequence[tuple[float, float]]) -> None:
        self.faults.windows = tuple(windows)

    def fail_next(self, *faults: Fault) -> None:
        """Queue faults. Each of the next token requests gets one of them, in this order."""
        self.faults.queue.extend(faults)

    def fail_for(self, seconds: float, fault: Fault = DEFAULT_OUTAGE) -> None:
        """Give every token request of the next seconds a fault. It replaces an earlier timed fault.

        The fault takes precedence over `fault` and over the planned outages, but not over the
        queued faults.

        Args:
            seconds: The seconds from now, by `wall_time`. If they are 0, the timed fault ends.
            fault: The fault.
        """
        self.faults.timed = Timed(fault, self.wall_time() + seconds)

    def clear_faults(self) -> None:
        """End every queued, timed and lasting fault, and cancel the planned outages."""
        with self.lock:
            self.faults.clear()

    def outage(self, fault: Fault = DEFAULT_OUTAGE) -> AbstractContextManager[None]:
        """Return a context manager in which every token request gets `fault`."""
        return self.temporarily(fault=fault)

    @contextmanager
    def temporarily(self, **settings: Unpack[Settings]) -> Iterator[None]:
        """Return a context manager in which attributes have other values.

        At its end each of these attributes gets back the value that it had before.

        Args:
            settings: The values by the names of the attributes that can be set at any time.

        Raises:
            TypeError: No such attribute can be set.
            ValueError: An attribute refuses its value. No attribute is changed.
        """
        check_names(settings)
        before = {name: getattr(self, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def slow_for(self, seconds: float, latency: Latency) -> None:
        """Replace `latency` for the next seconds. An earlier call has no more effect.

        Args:
            seconds: The seconds from now, by `wall_time`. If they are 0, `latency` applies again.
            latency: Seconds before each token response, or a range of seconds.
        """
        self._timed_latency = Timed(latency, self.wall_time() + seconds)

    def _current_latency(self) -> tuple[Latency, float | None]:
        """Return the latency, and the seconds after which it ends; ``None`` is no end."""
        timed, now = self._timed_latency, self.wall_time()
        if timed is None or now >= timed.until:
            return self.latency, None
        return timed.value, timed.until - now

    def _delay(self) -> float:
        """Return the latency of one response in seconds."""
        latency, _ = self._current_latency()
        return self._rng.uniform(*latency) if isinstance(latency, tuple) else latency

    # Policies

    def _policy(self, authorization_server: str | None) -> AccessPolicy:
        """Return the policy of an authorization server; ``None`` is the org server."""
        return self._policies[authorization_server is None]

    def _window(self, authorization_server: str | None) -> RateWindow:
        """Return the rate window that counts an authorization server's token requests."""
        return self._windows[authorization_server is None]

    def _token_lifetime(self, authorization_server: str | None, scopes: Iterable[str]) -> int:
        """Return the lifetime of a token in seconds."""
        default = ORG_LIFETIME if authorization_server is None else self._lifetime
        return self._lifetimes.get(frozenset(scopes), default)

    def _new_policies(self) -> dict[bool, AccessPolicy]:
        scopes = {scope for client in self._clients.values() for scope in client.scopes}
        okta = frozenset(scope for scope in scopes if scope.startswith("okta."))
        custom = (scopes - okta).union(self._default_scopes)
        return {
            True: AccessPolicy(org=True, known_scopes=okta),
            False: AccessPolicy(
                org=False, known_scopes=frozenset(custom), default_scopes=self._default_scopes
            ),
        }


def _check_lifetimes(*lifetimes: int) -> None:
    if min(lifetimes) < 1:
        raise ValueError(
            "lifetime or lifetimes has a value of less than one second. Use 1 or more."
        )


def _check_numbers(**options: object) -> None:
    """Refuse options that are not numbers; ``None`` is no limit, and ``True`` is no number.

    Raises:
        ValueError: An option is not a number.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"{name} is not a number. Use a number.")  # noqa: TRY004 — as above
