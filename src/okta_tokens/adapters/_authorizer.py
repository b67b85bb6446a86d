"""What adapters of HTTP clients share: who gets a token, what a request carries, what mends a 401.

It does no I/O but the source's, and knows no client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping

from okta_tokens import AccessToken, TokenSource
from okta_tokens.adapters._challenge import Fault, find_fault
from okta_tokens.adapters._origins import Origin, parse_origins
from okta_tokens.errors import ConfigurationError

_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 section 8.1
_REFUSED = 401


class Authorizer:
    """Decide which requests carry a token.

    Args:
        adapter: Whose it is, for messages.
        source: Gives the tokens.
        origins: Where they may be sent.
        pass_others: Whether requests to other origins go on without a token, instead of being
            refused.

    Raises:
        ConfigurationError: If the source is none, or there is no origin, or one that may not be.
    """

    def __init__(
        self, adapter: str, source: TokenSource, origins: Iterable[str], *, pass_others: bool
    ) -> None:
        self._adapter = adapter
        if not _is_source(source):
            message = f"{adapter}: takes a TokenSource: provider.source(client, scopes)"
            raise ConfigurationError(message)
        self.source = source
        self.origins = parse_origins(adapter, origins)
        """Where tokens may be sent."""
        self._pass_others = pass_others
        self.bound = source.key.client.dpop is not None
        self.headers = ("Authorization", "DPoP") if self.bound else ("Authorization",)
        """What requests carry."""
        self.nonces: dict[Origin, str] = {}
        """The `DPoP-Nonce` that each origin gave out last."""

    def allows(self, origin: Origin) -> bool:
        """Tell whether an origin may have the token."""
        return origin in self.origins

    def admits(self, origin: Origin, headers: Mapping[str, str], *, by_proxy: bool = False) -> bool:
        """Tell whether a request is to carry a token; False if it goes on as it is.

        Args:
            origin: Where it goes.
            headers: What it carries so far.
            by_proxy: Whether it goes through a proxy.

        Raises:
            ConfigurationError: If it goes elsewhere, also because a proxy would read along, or
                carries credentials already.
        """
        if origin not in self.origins:
            if self._pass_others:
                return False
            message = (
                f"{self._adapter}: {origin} is none of its origins, so nothing was sent there; add "
                "it to them if it may have the token, or pass_others=True lets such requests, also "
                "redirected ones, go on without"
            )
            raise ConfigurationError(message)
        if by_proxy:
            self.refuse_proxy(origin)
        for name in self.headers:
            if name in headers:
                del headers  # an error tracker records the locals of the frame that raises
                message = (
                    f"{self._adapter}: the request has {name} already, so nothing was sent; leave "
                    "that header out (also of the client's defaults, and .netrc), or send this "
                    "request without the adapter"
                )
                raise ConfigurationError(message)
        return True

    def refuse_proxy(self, origin: Origin) -> None:
        """Refuse to send a token through a proxy that could read it.

        Args:
            origin: Behind the proxy.

        Raises:
            ConfigurationError: If the proxy would see it in clear.
        """
        if origin.scheme == "http":
            message = (
                f"{self._adapter}: a proxy stands before {origin}, and would get the token in "
                "clear, so nothing was sent; use https, or no proxy for this machine (NO_PROXY)"
            )
            raise ConfigurationError(message)


class Call:
    """One request on its way: what it carries, and what a refusal makes of it.

    It is tried once more for each fault that another token, or another proof, may mend.

    Args:
        authorizer: Whose.
        origin: Where it goes.
    """

    __slots__ = ("_authorizer", "_carries", "_faults", "_is_proved", "_nonce", "_origin", "_token")

    def __init__(self, authorizer: Authorizer, origin: Origin) -> None:
        self._authorizer = authorizer
        self._origin = origin
        self._token: AccessToken | None = None
        self._nonce: str | None = None
        self._is_proved = self._carries = True
        self._faults: tuple[Fault, ...] = ()

    async def authorize(self, headers: MutableMapping[str, str], method: str, path: str) -> None:
        """Put the token, and its proof, into a request's headers.

        Args:
            headers: The request's.
            method: Its method.
            path: Its path, as it is sent; a query does not matter.

        Raises:
            TokenProviderError: As from `TokenSource.get_token` and `TokenSource.proof`.
        """
        authorizer = self._authorizer
        token = self._token
        if token is None:
            token = self._token = await authorizer.source.get_token()
        if authorizer.bound:
            self._nonce = authorizer.nonces.get(self._origin)
            url = f"{self._origin}{path}"
            headers["DPoP"] = await authorizer.source.proof(token, method, url, self._nonce)
        headers["Authorization"] = token.authorization
        self._is_proved = self._carries = True

    def withdraw(self, headers: MutableMapping[str, str]) -> None:
        """Take out what `authorize` put in: errors and logs show the headers of sent requests."""
        for name in self._authorizer.headers:
            headers.pop(name, None)

    def follow(self, origin: Origin, headers: Mapping[str, str]) -> bool:
        """Take note of a redirect that the client followed by itself.

        Args:
            origin: Where it ended.
            headers: What the last request carried.

        Returns:
            False if that is none of the origins: what was answered there is not about the token.
        """
        self._origin, self._is_proved = origin, False
        self._carries = "Authorization" in headers
        return self._authorizer.allows(origin)

    def learn(self, nonce: str | None) -> None:
        """Keep the `DPoP-Nonce` of an answer, whatever its status (RFC 9449 section 8.2)."""
        if nonce is not None and _NONCE.fullmatch(nonce):
            self._authorizer.nonces[self._origin] = nonce

    def is_worth_another_try(self, status: int, challenges: Iterable[str]) -> bool:
        """Take note of an answer, and tell whether the same request may fare better.

        A rejected token is reported to the source, whether or not there is another try.

        Args:
            status: The answer's.
            challenges: The values of its `WWW-Authenticate`.
        """
        token = self._token
        if status != _REFUSED or token is None:
            return False
        fault = find_fault(challenges, token.token_type) if self._carries else Fault.PROOF
        if fault is Fault.TOKEN:
            self._authorizer.source.invalidate(token)
        elif fault is Fault.PROOF and self._is_proved and self._knows_no_other_nonce():
            return False  # the same proof once more
        is_new = fault is not Fault.OTHER and fault not in self._faults
        self._faults += (fault,)
        return is_new

    async def renew(self) -> bool:
        """Get what the next try needs; False if there is nothing else than what was refused.

        Raises:
            TokenProviderError: As from `TokenSource.get_token`.
        """
        if self._faults[-1] is Fault.PROOF:
            return True
        refused, self._token = self._token, await self._authorizer.source.get_token()
        return refused is None or self._token.value != refused.value

    def _knows_no_other_nonce(self) -> bool:
        return self._authorizer.nonces.get(self._origin) == self._nonce


def _is_source(source: object) -> bool:
    return isinstance(source, TokenSource)
