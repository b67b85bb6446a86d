"""Assertions and proofs: examined once for each request, and used up by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from okta_tokens.sandbox import _assertions, _proofs
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._nonces import Nonces, use_dpop_nonce
from okta_tokens.sandbox._proofs import Proof
from okta_tokens.sandbox._replay import Replays
from okta_tokens.sandbox._request import ParsedRequest


class Evidence:
    """What assertions and proofs are held against: those that were used, and the nonces.

    Args:
        authorization_servers: The ids of the custom authorization servers.
        nonce_lifetime: Seconds after which a nonce is replaced.
    """

    def __init__(self, authorization_servers: Iterable[str], nonce_lifetime: float) -> None:
        self.nonces = {server: Nonces(nonce_lifetime) for server in (None, *authorization_servers)}
        self.resource_nonces = Nonces(nonce_lifetime)
        self._assertions = Replays()
        self._proofs = Replays()

    def identify(
        self,
        request: ParsedRequest,
        clients: Mapping[str, SandboxClient],
        *,
        url: str,
        now: float,
    ) -> ParsedRequest:
        """Return `request` with what its client assertion says, if it has one.

        An assertion that is rightly signed is used by that, whatever becomes of the request.

        Args:
            request: The request.
            clients: The known clients by id.
            url: The URL that it was sent to.
            now: Seconds since the epoch, by the server's clock.
        """
        if request.credentials.method != "client_assertion":
            return request
        said = _assertions.examine(request.form, clients, url=url, now=now)
        refusal = said.refusal
        if said.jti is not None:
            once = said.client_id, said.jti
            first = self._assertions.use(once, until=said.until, now=now)
            refusal = refusal or (None if first else _assertions.USED)
        credentials = replace(
            request.credentials,
            client_id=said.client_id,
            method=said.method or request.credentials.method,
            algorithm=said.algorithm,
            kid=said.kid,
            proven=refusal is None,
            refusal=refusal,
        )
        return replace(request, credentials=credentials)

    def prove(
        self,
        headers: Sequence[str],
        *,
        method: str,
        url: str,
        now: float,
        nonces: Nonces | None,
        wanted: str,
        token: str | None = None,
    ) -> Proof:
        """Return what the DPoP proof of a request proves.

        A proof that is rightly signed is used by that, whatever becomes of the request.

        Args:
            headers: The values of all ``DPoP`` headers.
            method: The method of the request.
            url: The URL that it was sent to.
            now: Seconds since the epoch, by the server's clock.
            nonces: The nonces that count, or ``None`` if none is needed.
            wanted: How a proof without such a nonce is refused.
            token: The access token in the request, if it is for a resource.
        """
        proof = _proofs.examine(headers, method=method, url=url, now=now, token=token)
        refusal = proof.refusal
        if proof.jti is not None:
            first = self._proofs.use((proof.jkt, proof.jti), until=proof.until, now=now)
            refusal = refusal or (None if first else _proofs.USED)
        if refusal is None and nonces is not None and not nonces.accepts(proof.nonce, now):
            refusal = use_dpop_nonce(wanted, nonces.current(now))
        if refusal is None and proof.jti is None:
            refusal = _proofs.WRONG_JTI
        return replace(proof, refusal=refusal)

    def rotate(self, now: float, *, forget: bool) -> None:
        """Replace every nonce at `now`; the old ones are accepted for a while, or forgotten."""
        for nonces in (*self.nonces.values(), self.resource_nonces):
            nonces.rotate(now, forget=forget)
