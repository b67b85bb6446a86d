"""Revoke tokens (RFC 7009): one request for each token, however many callers want it revoked."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import RevocationFlight, RevokeOperation
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.internal_error import internal_error
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.single_flight import SingleFlight
from okta_tokens.errors import ProviderStateError, TokenProviderError, TransportError
from okta_tokens.events import Event, TokenRevoked


class TokenRevoker:
    """Start and join the flights that revoke tokens.

    Args:
        schedule: Ends the wait of callers.
        registry: Has the endpoint of each domain.
        emit: Called with every event.
    """

    def __init__(
        self, *, schedule: Schedule, registry: EndpointRegistry, emit: Callable[[Event], None]
    ) -> None:
        self._registry = registry
        self._emit = emit
        # Keyed by the token itself, whose repr does not show its value.
        self.flights = SingleFlight[AccessToken, bool | TokenProviderError](self._fly, schedule)

    def join_or_start(
        self, token: AccessToken, deadline: float
    ) -> asyncio.Future[RevocationFlight | None]:
        """Join the flight that revokes a token, or start it.

        Args:
            token: The token.
            deadline: When the caller gives up, in seconds of boot time.

        Returns:
            A future for one waiter: the flight when it lands, or None at the deadline.

        Raises:
            ConfigurationError: If the given session would add credentials for the domain, or may
                send plain http through a proxy.
        """
        self._registry.check(token.key)
        flight = self.flights.under_way.get(token) or self.flights.start(
            token, deadline, reason="revocation"
        )
        return self.flights.join(flight, deadline)

    def check_result(self, key: TokenKey, flight: RevocationFlight | None) -> None:
        """Return if the token was revoked.

        Args:
            key: The key of the token.
            flight: The flight that landed; None if the deadline came first.

        Raises:
            FetchError: A copy of the flight's error, or because the deadline has passed.
            ProviderStateError: If the provider was closed in the meantime.
        """
        if flight is None:
            message = (
                "the revocation timed out; the request continues in the background, so revoke the "
                "token again later to learn the result"
            )
            raise TransportError(message, key=key, retryable=True)
        result = flight.result
        if result is None:
            message = (
                "the provider was closed, or failed, while this caller waited for a revocation; "
                "revoke the token again from a running provider"
            )
            raise ProviderStateError(message)
        if isinstance(result, TokenProviderError):
            raise copy.copy(result)

    async def _fly(self, flight: RevocationFlight) -> bool | TokenProviderError:
        key = flight.key.key
        try:
            result = await self._registry.endpoint(key).run(RevokeOperation(flight))
        except Exception as error:  # noqa: BLE001 - an internal error must not leave callers waiting
            return internal_error("revoking a token", error)
        if result is True:
            self._emit(TokenRevoked(key=key))
        return result
