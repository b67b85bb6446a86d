"""Other libraries that get client-credentials tokens, each by the interface that its users call.

A library is imported when its peer is created, so none of them must be installed.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Final, TypeAlias

from aiohttp import ClientSession, encode_basic_auth

CONNECTIONS: Final = 100
"""The number of connections that a peer may keep: the default of aiohttp and httpx."""

RESOURCE_URL: Final = "https://api.example.com/orders"
"""The URL of the service's request. It is never sent, because the peers only inspect the URL."""

_RequestsSession: TypeAlias = Any  # the type stubs of requests are not installed


@dataclass(frozen=True)
class Target:
    """The authorization server and the client of the tokens.

    Args:
        origin: The authorization server's scheme, host and port.
        client_id: The client's id.
        secret: The client's secret.
    """

    origin: str
    client_id: str
    secret: str = field(repr=False)

    @property
    def token_url(self) -> str:
        """The token endpoint of the authorization server `default`."""
        return f"{self.origin}/oauth2/default/v1/token"


class Peer(ABC):
    """A library that caches client-credentials tokens. Use a peer in one event loop only.

    Args:
        target: The authorization server and the client.

    Raises:
        ImportError: If the library is not installed.
    """

    name: ClassVar[str]
    """The library's name."""

    distribution: ClassVar[str]
    """The library's name on PyPI."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Distributions of which the library needs one, although it does not depend on them."""

    checks_expiry: ClassVar[bool] = True
    """Whether a hit checks the token's expiry."""

    threads: ClassVar[bool] = False
    """Whether the interface is synchronous, so that asyncio services call it in a thread."""

    cold: ClassVar[bool] = True
    """Whether its token requests are like those of the others, so that fetches can be compared."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._exit_stack = AsyncExitStack()

    @abstractmethod
    def getter(self, scopes: str) -> Callable[[], object]:
        """Return the function that a service calls before each of its requests.

        Call this method once for each set of scopes, because some peers keep the token in the
        function.

        Args:
            scopes: The scopes' names, separated by spaces.

        Returns:
            An async function, or a plain function if `threads` is True. Its first call fetches.
        """

    async def aclose(self) -> None:
        """Close every connection."""
        await self._exit_stack.aclose()

    def _new_session(self) -> ClientSession:
        """Return an aiohttp session with the client's credentials."""
        credentials = encode_basic_auth(self._target.client_id, self._target.secret)
        session = ClientSession(headers={"Authorization": credentials})
        self._exit_stack.push_async_callback(session.close)
        return session

    def _new_requests_session(self) -> _RequestsSession:
        """Return a `requests.Session` that keeps enough connections for all threads."""
        requests = import_module("requests")
        session = requests.Session()
        session.trust_env = False  # otherwise each request looks for proxies and a .netrc file
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
        self._exit_stack.callback(session.close)
        return session


class Authlib(Peer):
    """Authlib: a client for each set of scopes, whose `ensure_active_token` is awaited.

    The client itself awaits this method before each request. The clients are httpx clients with a
    common transport, so that they share their connections.
    """

    name = "Authlib"
    distribution = "Authlib"
    needs: ClassVar[tuple[str, ...]] = (
        "httpx2",
        "httpx",
    )  # the first one that is installed, as in Authlib

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        integration = import_module("authlib.integrations.httpx_client")
        httpx = import_module(next(filter(_is_installed, self.needs)))
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._new_client = partial(
            integration.AsyncOAuth2Client,
            target.client_id,
            target.secret,
            grant_type="client_credentials",
            token_endpoint=target.token_url,
            transport=httpx.AsyncHTTPTransport(limits=limits),
        )

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return a function that ensures an active token, and returns it."""
        # Authlib renews an expired token, but does not fetch a first token by itself. So the
        # client gets an expired token, as if an earlier run had stored the token.
        stored = {"access_token": "expired", "token_type": "Bearer", "expires_at": 0}
        client = self._new_client(scope=scopes, token=stored)
        self._exit_stack.push_async_callback(client.aclose)

        async def get() -> object:
            await client.ensure_active_token(client.token)
            return client.token

        return get


class AzureCore(Peer):
    """azure-core: the pipeline policy for bearer tokens, with a credential of ours.

    The policy refuses http requests, so it gets an https request, which is not sent. The request
    is created once, because every pipeline creates a request, with or without a token.
    """

    name = "azure-core"
    distribution = "azure-core"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._pipeline = import_module("azure.core.pipeline")
        self._policies = import_module("azure.core.pipeline.policies")
        self._rest = import_module("azure.core.rest")
        new_token = import_module("azure.core.credentials").AccessToken
        self._credential = _AzureCredential(new_token, self._new_session(), target)

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return a policy's `on_request`, which adds the token to a request and returns `None`."""
        policy = self._policies.AsyncBearerTokenCredentialPolicy(self._credential, *scopes.split())
        context = self._pipeline.PipelineContext(None)
        request = self._rest.HttpRequest("GET", RESOURCE_URL)
        return partial(policy.on_request, self._pipeline.PipelineRequest(request, context))


class _AzureCredential:
    """The part of `AsyncTokenCredential` that the policy calls."""

    def __init__(
        self, new_token: Callable[[str, int], object], session: ClientSession, target: Target
    ) -> None:
        self._new_token = new_token
        self._session = session
        self._target = target

    async def get_token(self, *scopes: str, **_options: object) -> object:
        """Fetch a token. The policy caches it."""
        response = await _fetch(self._session, self._target, " ".join(scopes))
        return self._new_token(response["access_token"], int(time.time()) + response["expires_in"])


class MSAL(Peer):
    """MSAL: one application for all scopes, whose `acquire_token_for_client` is called.

    MSAL sends the secret in the form, not in a Basic header.
    """

    name = "MSAL"
    distribution = "msal"
    threads = True

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        http = _MSALHTTPClient(self._new_requests_session(), target)
        self._application = import_module("msal").ConfidentialClientApplication(
            target.client_id,
            target.secret,
            oidc_authority=http.AUTHORITY,
            instance_discovery=False,  # would query Microsoft's directory of clouds
            http_client=http,
        )

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return `acquire_token_for_client`, which returns token responses and error responses."""
        return partial(self._application.acquire_token_for_client, scopes.split())


class _MSALHTTPClient:
    """MSAL's documented `http_client`. It sends requests for MSAL's https URLs to the target."""

    AUTHORITY: Final = "https://okta.invalid/oauth2/default"

    def __init__(self, session: _RequestsSession, target: Target) -> None:
        self._session = session
        self._target = target

    def get(self, url: str, **_options: object) -> _Document:
        """Return the metadata that MSAL requests when the application is created.

        The sandbox's own metadata has no authorization endpoint, which MSAL requires.
        """
        if not url.startswith(self.AUTHORITY):
            raise ValueError(f"{url} is not a URL of the authority")
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
        urls = {name: f"{self.AUTHORITY}/v1/{path}" for name, path in endpoints.items()}
        return _Document(json.dumps({"issuer": self.AUTHORITY, **urls}))

    def post(self, _url: str, **options: object) -> object:
        """Send a token request, the only kind of request that MSAL posts here."""
        return self._session.post(self._target.token_url, **options)


@dataclass(frozen=True)
class _Document:
    """The part of a response that MSAL uses."""

    text: str
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class GoogleAuth(Peer):
    """google-auth: credentials of ours for each set of scopes, whose `before_request` is called.

    These credentials are synchronous. `google.auth.aio` never checks the expiry and never
    refreshes, and `google.auth._credentials_async` is private.
    """

    name = "google-auth"
    distribution = "google-auth"
    needs: ClassVar[tuple[str, ...]] = ("requests",)
    threads = True

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._new_credentials = _google_credentials(target)
        transport = import_module("google.auth.transport.requests")
        self._request = transport.Request(self._new_requests_session())

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return `before_request`, which adds the token to headers and returns `None`."""
        credentials = self._new_credentials(scopes)
        return partial(credentials.before_request, self._request, "GET", RESOURCE_URL, {})


def _google_credentials(target: Target) -> Callable[[str], Any]:
    """Return a class of credentials, whose base class needs google-auth."""
    base: Any = import_module("google.auth.credentials").Credentials
    headers = {
        "Authorization": encode_basic_auth(target.client_id, target.secret),
        "Content-Type": "application/x-www-form-urlencoded",
    }

    class Credentials(base):  # type: ignore[misc]  # known only at run time
        def __init__(self, scopes: str) -> None:
            super().__init__()
            self._form = _form(scopes)

        def refresh(self, request: Callable[..., Any]) -> None:
            response = request(target.token_url, method="POST", body=self._form, headers=headers)
            fields = json.loads(response.data)
            # google-auth compares naive times.
            now = datetime.fromtimestamp(time.time(), UTC).replace(tzinfo=None)
            self.token = fields["access_token"]
            self.expiry = now + timedelta(seconds=fields["expires_in"])

    return Credentials


class Okta(Peer):
    """Okta's management SDK: an `OAuth` for each set of scopes, which its executor calls each time.

    The SDK signs an assertion and uses the org server, while the others send a secret. So its
    request executor is replaced by one that sends the same request as the others, and only hits
    are compared.
    """

    name = "okta"
    distribution = "okta"
    cold = False

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._new_oauth = import_module("okta.oauth").OAuth
        self._executor = _OktaExecutor(self._new_session(), target)
        self._config = {
            "orgUrl": target.origin,
            "clientId": target.client_id,
            "privateKey": _private_key(),
            "oauthTokenRenewalOffset": 5,  # minutes, the SDK's default
        }

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return `get_oauth_token`, which returns a token, its type and an error."""
        config = {"client": self._config | {"scopes": scopes.split()}}
        get: Callable[[], object] = self._new_oauth(self._executor, config).get_oauth_token
        return get


@cache
def _private_key() -> str:
    """Return a private key in PEM; one is enough, because its assertions are not sent."""
    key = import_module("jwcrypto.jwk").JWK.generate(kty="RSA", size=2048)
    pem: bytes = key.export_to_pem(private_key=True, password=None)
    return pem.decode()


class _OktaExecutor:
    """The part of the SDK's `RequestExecutor` that its `OAuth` calls."""

    def __init__(self, session: ClientSession, target: Target) -> None:
        self._session = session
        self._target = target

    async def create_request(
        self, _method: str, _url: str, *, form: Mapping[str, str], **_options: object
    ) -> tuple[dict[str, str], None]:
        """Return the form without the assertion, because the session sends the credentials."""
        return _form(form["scope"]), None

    async def fire_request(self, form: dict[str, str]) -> tuple[object, object, str, None]:
        """Send a form; return the form, the response, its text, and no error."""
        async with self._session.post(self._target.token_url, data=form) as response:
            response.raise_for_status()
            return form, response, await response.text(), None

    def clear_authorization_header(self) -> None:
        """Do nothing, because only the `OAuth` holds the token."""

    def clear_cached_token(self) -> None:
        """Do nothing, because only the `OAuth` holds the token."""


class AiohttpOAuth2Client(Peer):
    """aiohttp-oauth2-client: a grant for each set of scopes, whose `prepare_headers` is awaited.

    The library's middleware awaits this method for each request. A grant creates its own session,
    so that connections are not shared. It sends the secret in the form, not in a Basic header.
    """

    name = "aiohttp-oauth2-client"
    distribution = "aiohttp-oauth2-client"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        module = import_module("aiohttp_oauth2_client.grant.client_credentials")
        self._new_grant = partial(
            module.ClientCredentialsGrant,
            target.token_url,
            client_id=target.client_id,
            client_secret=target.secret,
        )

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return `prepare_headers`, which returns headers."""
        grant = self._new_grant(scope=scopes)
        self._exit_stack.push_async_callback(grant.close)
        get: Callable[[], object] = grant.prepare_headers
        return get


class AsyncLRU(Peer):
    """async-lru: a function that fetches a token, decorated with `alru_cache`.

    The cache does not know the token's lifetime. It drops a token after a fixed time.
    """

    name = "async-lru"
    distribution = "async-lru"
    checks_expiry = False

    TTL: ClassVar[float] = 3300.0
    """Seconds: five minutes less than an hour, which is a token's default lifetime."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        session = self._new_session()

        @import_module("async_lru").alru_cache(maxsize=None, ttl=self.TTL)  # type: ignore[untyped-decorator]
        async def fetch(scopes: str) -> str:
            response = await _fetch(session, target, scopes)
            token: str = response["access_token"]
            return token

        self._fetch = fetch
        self._exit_stack.callback(fetch.cache_clear)  # also cancels the timers of the tokens
        self._exit_stack.push_async_callback(fetch.cache_close)

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return the decorated function for the scopes, which returns tokens."""
        return partial(self._fetch, scopes)


PEERS: Final[tuple[type[Peer], ...]] = (
    Authlib,
    AzureCore,
    MSAL,
    GoogleAuth,
    Okta,
    AiohttpOAuth2Client,
    AsyncLRU,
)
"""Every peer, installed or not."""


def available() -> tuple[list[type[Peer]], dict[str, str]]:
    """Return the installed peers, and the reasons why the others are left out, by name."""
    left_out = {}
    for peer in PEERS:
        for alternatives in filter(None, ((peer.distribution,), peer.needs)):
            if not any(map(_is_installed, alternatives)):
                left_out[peer.name] = f"{' or '.join(alternatives)} is not installed"
                break
    return [peer for peer in PEERS if peer.name not in left_out], left_out


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


# Token requests of peers that leave them to their users


def _form(scopes: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "scope": scopes}


async def _fetch(session: ClientSession, target: Target, scopes: str) -> dict[str, Any]:
    async with session.post(target.token_url, data=_form(scopes)) as response:
        response.raise_for_status()
        fields: dict[str, Any] = await response.json()
        return fields
