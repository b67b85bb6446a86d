"""Token requests and revocation requests: the URL, the form, and what their attempts share."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, cast

import aiohttp

from okta_tokens._auth.authentication import (
    ClientAuthentication,
    TokenRequest,
    is_resolved,
    resolve,
)
from okta_tokens._auth.dpop import DPoP
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.response import Response
from okta_tokens._endpoint.token_response import (
    TokenResponse,
    parse_revocation_response,
    parse_token_response,
)
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.single_flight import Flight
from okta_tokens._version import __version__
from okta_tokens.errors import CredentialError, FetchError, TokenProviderError
from okta_tokens.events import Reason, TokenRequested

T = TypeVar("T", bound=TokenResponse | bool)
Result = AccessToken | TokenProviderError
"""What a flight of a key brings."""
TokenFlight = Flight[TokenKey, Result]
RevocationFlight = Flight[AccessToken, bool | TokenProviderError]

USER_AGENT = (
    f"okta-tokens/{__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
)

_HEADERS = {
    "Accept": "application/json",
    # A response has a few hundred bytes, too few to compress.
    "Accept-Encoding": "identity",
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": USER_AGENT,
}


def build_form(scope: str) -> dict[str, str]:
    """Return the fields of a token request (RFC 6749 section 4.4.2).

    Args:
        scope: The requested scopes, joined by spaces. Without any the field is left out, and a
            custom authorization server grants its default scopes.
    """
    form = {"grant_type": "client_credentials"}
    if scope:
        form["scope"] = scope
    return form


def reason_of(flight: Flight[Any, Any]) -> Reason:
    """Return why a flight of a key or of a token started."""
    return cast("Reason", flight.reason)


class Operation(ABC, Generic[T]):
    """One thing that Okta is asked to do, and what its attempts have in common.

    Args:
        flight: The flight on whose behalf the attempts are made.
        key: The key of the token.
        secrets: Values that no text may repeat. The secrets of every attempt are added, since a
            server may repeat the secret of an earlier attempt.
    """

    __slots__ = (
        "authentication",
        "clock_offset",
        "flight",
        "key",
        "requests_sent",
        "resolved",
        "secrets",
    )

    def __init__(self, flight: Flight[Any, Any], key: TokenKey, *secrets: str) -> None:
        self.flight: Flight[Any, Any] = flight
        self.key: TokenKey = key
        self.secrets: list[str] = [*secrets]
        self.requests_sent: int = 0
        self.authentication: ClientAuthentication = key.client.authentication
        """The client's authentication, with the credential of the last attempt if there was one."""
        self.resolved: ClientAuthentication | CredentialError | None = None
        """The result of the callable for the credential, if it was called before the first attempt.
        """
        self.clock_offset: float = 0.0
        """The clock offset that dated the last request, in seconds."""

    def __repr__(self) -> str:
        """Return the kind of the operation and its key, without a secret."""
        return f"<{type(self).__name__} of {self.key}>"

    @abstractmethod
    def new_request(self) -> TokenRequest:
        """Return a new request without date, credential and proof."""

    def known_authentication(self) -> ClientAuthentication | CredentialError | None:
        """Return the authentication of the next attempt, or None if a callable has to be called.

        The credential of the first attempt may be known already, or why there is none. Every other
        attempt calls the callable again.
        """
        resolved, self.resolved = self.resolved, None
        method = self.key.client.authentication
        return resolved or (method if is_resolved(method) else None)

    async def resolve(self) -> ClientAuthentication | CredentialError:
        """Call the callable for the credential, and return the authentication with its result."""
        return await resolve(self.key.client.authentication, self.key.client_id)

    @property
    def dpop(self) -> DPoP | None:
        """Makes the proofs; None if the requests need none."""
        return None

    @property
    @abstractmethod
    def owner(self) -> Hashable:
        """Whose work this is: at the gate of a domain, owners take turns."""

    def is_abandoned(self, now: float) -> bool:
        """Tell whether every caller that waited for the work has given up.

        Args:
            now: The present moment, in seconds of boot time.
        """
        flight = self.flight
        return flight.wanted and flight.deadline <= now and not flight.is_awaited

    @abstractmethod
    def parse(self, response: Response) -> T | FetchError:
        """Return what a response means.

        Args:
            response: The response to one of the requests.
        """

    def count_request(self, emit: Emitter, boot_time: Callable[[], float]) -> None:  # noqa: ARG002
        """Count a request that is about to be sent.

        Args:
            emit: Called with the event about it, if there is one.
            boot_time: Tells the time.
        """
        self.requests_sent += 1


class FetchOperation(Operation[TokenResponse]):
    """Fetch a token (RFC 6749 section 4.4).

    Args:
        flight: The flight of a key.
    """

    __slots__ = ()

    def __init__(self, flight: TokenFlight) -> None:
        super().__init__(flight, flight.key)

    @property
    def dpop(self) -> DPoP | None:
        """The key of the client."""
        return self.key.client.dpop

    def new_request(self) -> TokenRequest:
        """Return a new token request."""
        client, form = self.key.client, build_form(self.key.scope)
        url, client_id = client.token_url, client.client_id
        request = TokenRequest(url, client_id, form, {**_HEADERS}, 0.0, self.secrets)
        if client.parameters is not None:
            request.parameters = client.parameters.fields
        return request

    @property
    def owner(self) -> str:
        """The id of the client."""
        return self.key.client_id

    def parse(self, response: Response) -> TokenResponse | FetchError:
        """Return the token, or the error that says why there is none."""
        return parse_token_response(response, self.key)

    def count_request(self, emit: Emitter, boot_time: Callable[[], float]) -> None:
        """Count a request that is about to be sent, and emit that a token is requested."""
        super().count_request(emit, boot_time)
        emit.emit_lazily(
            TokenRequested,
            lambda: TokenRequested(
                key=self.key,
                attempt=self.requests_sent,
                renewal=not self.flight.wanted,
                reason=reason_of(self.flight),
                waited=self.flight.waited(boot_time()),
            ),
        )


class RevokeOperation(Operation[bool]):
    """Revoke a token (RFC 7009).

    Args:
        flight: The flight of a token.
    """

    __slots__ = ()

    def __init__(self, flight: RevocationFlight) -> None:
        super().__init__(flight, flight.key.key, flight.key.value)

    def new_request(self) -> TokenRequest:
        """Return a new revocation request."""
        client, token = self.key.client, self.flight.key.value
        form = {"token": token, "token_type_hint": "access_token"}
        url, client_id = client.revocation_url, client.client_id
        return TokenRequest(url, client_id, form, {**_HEADERS}, 0.0, self.secrets)

    @property
    def owner(self) -> tuple[str, str]:
        """The id of the client, apart from its fetches: they must not hold up a revocation."""
        return self.key.client_id, "revocations"

    def is_abandoned(self, now: float) -> bool:  # noqa: ARG002 - as declared
        """Return False: a token must be revoked, also if no caller waits."""
        return False

    def parse(self, response: Response) -> bool | FetchError:
        """Return True, or the error that says why the token is not revoked."""
        return parse_revocation_response(response, self.key) or True
