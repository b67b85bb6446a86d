"""Other libraries that get client-credentials tokens, each by the interface that its users use.

None of them needs to be installed: a peer is imported when it is made.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Final, TypeAlias

from aiohttp import ClientSession, encode_basic_auth

CONNECTIONS: Final = 100
"""Connections that a peer may hold open; it is aiohttp's default, and httpx's."""

RESOURCE_URL: Final = "https://api.example.com/orders"
"""What the tokens would be sent to. Nothing is sent there: the peers only look at the URL."""

_RequestsSession: TypeAlias = Any  # the types of requests are not installed


@dataclass(frozen=True)
class Target:
    """Where peers get their tokens.

    Args:
        origin: Scheme, host and port of an authorization server.
        client_id: Whose tokens they are.
        secret: The client's secret.
    """

    origin: str
    client_id: str
    secret: str = field(repr=False)

    @property
    def token_url(self) -> str:
        """The token endpoint of the server's default custom authorization server."""
        return f"{self.origin}/oauth2/default/v1/token"


class Peer(ABC):
    """A library that caches client-credentials tokens. Use one in a single event loop.

    Args:
        target: Where it gets its tokens.

    Raises:
        ImportError: It is not installed.
    """

    name: ClassVar[str]
    """As people write it."""

    distribution: ClassVar[str]
    """Its name on PyPI."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Distributions of which it needs one, and brings none."""

    checks_expiry: ClassVar[bool] = True
    """Whether a hit looks at the token's expiry."""

    threads: ClassVar[bool] = False
    """Whether its interface is synchronous, so that asyncio services call it in a thread."""

    cold: ClassVar[bool] = True
    """Whether it asks for tokens as the others do, so that its misses compare to theirs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._open = AsyncExitStack()

    @abstractmethod
    def getter(self, scopes: str) -> Callable[[], object]:
        """Return what a service calls before each request that it sends.

        Call this once for each set of scopes: some peers keep the token in what is returned.

        Args:
            scopes: The names of the scopes, divided by spaces.

        Returns:
            An async function, or a plain one of a peer that `threads`. Its first call fetches.
        """

    async def aclose(self) -> None:
        """Close every connection."""
        await self._open.aclose()

    def _new_session(self) -> ClientSession:
        """Return an aiohttp session that logs in."""
        login = encode_basic_auth(self._target.client_id, self._target.secret)
        session = ClientSession(headers={"Authorization": login})
        self._open.push_async_callback(session.close)
        return session

    def _new_requests_session(self) -> _RequestsSession:
        """Return a `requests.Session` that keeps a connection for each thread."""
        requests = import_module("requests")
        session = requests.Session()
        session.trust_env = False  # it would look for proxies and a .netrc file each time
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
        self._open.callback(session.close)
        return session


class Authlib(Peer):
    """A client for each set of scopes, whose `ensure_active_token` is awaited.

    So does the client itself before each request. Its clients are httpx clients, which share their
    connections by sharing a transport.
    """

    name = "Authlib"
    distribution = "Authlib"
    needs: ClassVar[tuple[str, ...]] = ("httpx2", "httpx")  # the first one there, as Authlib does

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
        """Return a function that ensures that a client's token is active, and returns it."""
        # It renews tokens one request at a time, but would not fetch the first one by itself: so
        # it is given one that has expired, as if stored by an earlier run.
        stored = {"access_token": "expired", "token_type": "Bearer", "expires_at": 0}
        client = self._new_client(scope=scopes, token=stored)
        self._open.push_async_callback(client.aclose)

        async def get() -> object:
            await client.ensure_active_token(client.token)
            return client.token

        return get


class AzureCore(Peer):
    """The policy that its pipelines have for bearer tokens, and a credential of ours behind it.

    The policy refuses to put a token on a request for http; the request that it is given is for
    https, and is not sent. It is made once: every pipeline makes one anyway, with a token or not.
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
        """Return a policy's `on_request`; it puts the token on the request, and returns nothing."""
        policy = self._policies.AsyncBearerTokenCredentialPolicy(self._credential, *scopes.split())
        context = self._pipeline.PipelineContext(None)
        request = self._rest.HttpRequest("GET", RESOURCE_URL)
        return partial(policy.on_request, self._pipeline.PipelineRequest(request, context))


class _AzureCredential:
    """As much of an `AsyncTokenCredential` as the policy calls."""

    def __init__(
        self, new_token: Callable[[str, int], object], session: ClientSession, target: Target
    ) -> None:
        self._new_token = new_token
        self._session = session
        self._target = target

    async def get_token(self, *scopes: str, **_options: object) -> object:
        """Fetch a token; the policy is what caches it."""
        answer = await _fetch(self._session, self._target, " ".join(scopes))
        return self._new_token(answer["access_token"], int(time.time()) + answer["expires_in"])


class MSAL(Peer):
    """One application, whose `acquire_token_for_client` looks into its cache for all scopes.

    It sends the secret in the form, not as a Basic login.
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
            instance_discovery=False,  # Microsoft's directory of its own clouds
            http_client=http,
        )

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return `acquire_token_for_client`, whose results are answers; also those that refuse."""
        return partial(self._application.acquire_token_for_client, scopes.split())


class _MSALHTTPClient:
    """What MSAL documents as `http_client`: here it takes its https URLs to the target."""

    AUTHORITY: Final = "https://okta.invalid/oauth2/default"

    def __init__(self, session: _RequestsSession, target: Target) -> None:
        self._session = session
        self._target = target

    def get(self, url: str, **_options: object) -> _Document:
        """Answer what MSAL asks when it is made: where the endpoints are.

        Ours says this too, but has no authorization endpoint, without which MSAL does not start.
        """
        if not url.startswith(self.AUTHORITY):
            raise ValueError(f"{url} is not of the authority")
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
        urls = {name: f"{self.AUTHORITY}/v1/{path}" for name, path in endpoints.items()}
        return _Document(json.dumps({"issuer": self.AUTHORITY, **urls}))

    def post(self, _url: str, **options: object) -> object:
        """Send what is meant for the token endpoint, the only one that MSAL posts to here."""
        return self._session.post(self._target.token_url, **options)


@dataclass(frozen=True)
class _Document:
    """As much of a response as MSAL reads."""

    text: str
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class GoogleAuth(Peer):
    """Credentials of ours for each set of scopes, whose `before_request` is called.

    These are the synchronous ones. Of the asynchronous, `google.auth.aio` never looks at the expiry
    and never refreshes, and `google.auth._credentials_async` is private.
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
        """Return `before_request`; it puts the token among headers, and returns nothing."""
        credentials = self._new_credentials(scopes)
        return partial(credentials.before_request, self._request, "GET", RESOURCE_URL, {})


def _google_credentials(target: Target) -> Callable[[str], Any]:
    """Return a class of credentials; its base is there only if google-auth is."""
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
            answer = json.loads(response.data)
            now = datetime.now(UTC).replace(tzinfo=None)  # google-auth compares naive times
            self.token = answer["access_token"]
            self.expiry = now + timedelta(seconds=answer["expires_in"])

    return Credentials


class Okta(Peer):
    """Okta's management SDK: an `OAuth` for each set of scopes, which its executor asks each time.

    It signs an assertion where the others send a secret, and asks the org's own server. Its request
    executor is replaced by one that sends the others' request, so that only hits compare to theirs.
    """

    name = "okta"
    distribution = "okta"
    cold = False

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._new_oauth = import_module("okta.oauth").OAuth
        key = import_module("jwcrypto.jwk").JWK.generate(kty="RSA", size=2048)
        self._executor = _OktaExecutor(self._new_session(), target)
        self._config = {
            "orgUrl": target.origin,
            "clientId": target.client_id,
            "privateKey": key.export_to_pem(private_key=True, password=None).decode(),
            "oauthTokenRenewalOffset": 5,  # minutes, the SDK's default
        }

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return `get_oauth_token`, whose results are tokens, their types, and errors."""
        config = {"client": self._config | {"scopes": scopes.split()}}
        get: Callable[[], object] = self._new_oauth(self._executor, config).get_oauth_token
        return get


class _OktaExecutor:
    """As much of the SDK's `RequestExecutor` as its `OAuth` calls."""

    def __init__(self, session: ClientSession, target: Target) -> None:
        self._session = session
        self._target = target

    async def create_request(
        self, _method: str, _url: str, *, form: Mapping[str, str], **_options: object
    ) -> tuple[dict[str, str], None]:
        """Return the form to send: without the assertion, for which the session has a login."""
        return _form(form["scope"]), None

    async def fire_request(self, form: dict[str, str]) -> tuple[object, object, str, None]:
        """Send a form; return it, the response, the response's text, and that nothing failed."""
        async with self._session.post(self._target.token_url, data=form) as response:
            response.raise_for_status()
            return form, response, await response.text(), None

    def clear_authorization_header(self) -> None:
        """Forget an expired token; nothing but the `OAuth` had it."""

    def clear_cached_token(self) -> None:
        """Forget an expired token; nothing but the `OAuth` had it."""


class AiohttpOAuth2Client(Peer):
    """A grant for each set of scopes, whose `prepare_headers` its middleware awaits each time.

    A grant makes its own session and takes no other, so that connections are not shared. It sends
    the secret in the form, not as a Basic login.
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
        """Return `prepare_headers`, whose results are headers."""
        grant = self._new_grant(scope=scopes)
        self._open.push_async_callback(grant.close)
        get: Callable[[], object] = grant.prepare_headers
        return get


class AsyncLRU(Peer):
    """A function that fetches a token, decorated with `alru_cache`.

    It knows nothing of tokens: they are dropped after a time that is set in advance.
    """

    name = "async-lru"
    distribution = "async-lru"
    checks_expiry = False

    TTL: ClassVar[float] = 3300.0
    """Seconds: an hour, which a token lives by default, but for five minutes."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        session = self._new_session()

        @import_module("async_lru").alru_cache(maxsize=None, ttl=self.TTL)  # type: ignore[untyped-decorator]
        async def fetch(scopes: str) -> str:
            answer = await _fetch(session, target, scopes)
            token: str = answer["access_token"]
            return token

        self._fetch = fetch
        self._open.callback(fetch.cache_clear)  # and with the tokens, their timers
        self._open.push_async_callback(fetch.cache_close)

    def getter(self, scopes: str) -> Callable[[], object]:
        """Return the decorated function, called with the scopes; its results are tokens."""
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
    """Return the peers that are installed, and for the others by name why they are left out."""
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


# What a peer leaves to its user


def _form(scopes: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "scope": scopes}


async def _fetch(session: ClientSession, target: Target, scopes: str) -> dict[str, Any]:
    async with session.post(target.token_url, data=_form(scopes)) as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
        return answer
