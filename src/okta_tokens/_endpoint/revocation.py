"""Revoke tokens (RFC 7009): one request for each, however many callers ask for it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from okta_tokens._endpoint.endpoint import Endpoint, RevocationFlight, internal_error
from okta_tokens._model.token import AccessToken, TokenKey
from okta_tokens._runtime.flight import SingleFlight
from okta_tokens._runtime.schedule import Schedule
from okta_tokens.errors import ProviderStateError, TokenProviderError, TransportError
from okta_tokens.events import Event, TokenRevoked


class TokenRevoker:
    """Start and join the flights that revoke tokens.

    Args:
        schedule: Ends the wait of callers.
        endpoint: Returns the endpoint of a key's domain.
        emit: Hears what happens.
    """

    def __init__(
        self,
        *,
        schedule: Schedule,
        endpoint: Callable[[TokenKey], Endpoint],
        emit: Callable[[Event], None],
    ) -> None:
        self._endpoint = endpoint
        self._emit = emit
        self.flights = SingleFlight[tuple[TokenKey, str], bool | TokenProviderError](
            self._fly, schedule
        )

    def ask(self, token: AccessToken, deadline: float) -> asyncio.Future[RevocationFlight | None]:
        """Return what to wait for until a token is revoked: a flight that is joined, or begun.

        Args:
            token: Which one.
            deadline: When the caller gives up, in seconds of boot time.

        Raises:
            ConfigurationError: If the session would add credentials for the domain.
        """
        self._endpoint(token.key)  # may refuse, and then this call, not the flight
        key = (token.key, token.value)
        flight = self.flights.under_way.get(key) or self.flights.start(key, deadline)
        return self.flights.join(flight, deadline)

    def confirm(self, key: TokenKey, flight: RevocationFlight | None) -> None:
        """Return if a token was revoked.

        Args:
            key: Whose token.
            flight: The one that landed; None if the deadline came first.

        Raises:
            FetchError: A copy of what the flight ended with; or because the deadline has come.
            ProviderStateError: If the provider was closed meanwhile.
        """
        if flight is None:
            message = "no word in time that the token is revoked; the request goes on"
            raise TransportError(message, key=key, retryable=True)
        outcome = flight.outcome
        if outcome is None:
            message = "the provider was closed, or died, while this caller waited"
            raise ProviderStateError(message)
        if isinstance(outcome, TokenProviderError):
            raise copy.copy(outcome)

    async def _fly(self, flight: RevocationFlight) -> bool | TokenProviderError:
        key, _ = flight.key
        try:
            outcome = await self._endpoint(key).revoke(flight)
        except Exception as error:  # noqa: BLE001 - a defect here must not leave callers hanging
            return internal_error("revocation", error)
        if outcome is True:
            self._emit(TokenRevoked(key=key))
        return outcome
