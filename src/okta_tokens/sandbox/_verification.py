"""Verify client assertions and DPoP proofs: check each one, and accept it only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from okta_tokens.sandbox import _client_assertions, _dpop_proofs
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._dpop_nonces import Nonces
from okta_tokens.sandbox._dpop_proofs import Proof
from okta_tokens.sandbox._okta_errors import use_dpop_nonce
from okta_tokens.sandbox._replay import ReplayCache
from okta_tokens.sandbox._request_parsing import ParsedRequest


class Verifier:
    """The used assertions and proofs, and the nonces, that requests are verified with.

    Args:
        authorization_servers: The ids of the custom authorization servers.
        nonce_lifetime: Seconds after which a nonce is replaced.
    """

    def __init__(self, authorization_servers: Iterable[str], nonce_lifetime: float) -> None:
        self.nonces: dict[str | None, Nonces] = {
            server: Nonces(nonce_lifetime) for server in (None, *authorization_servers)
        }
        self.resource_nonces: Nonces = Nonces(nonce_lifetime)
        self._used_assertions = ReplayCache()
        self._used_proofs = ReplayCache()

    def verify_assertion(
        self,
        request: ParsedRequest,
        clients: Mapping[str, SandboxClient],
        *,
        url: str,
        now: float,
    ) -> ParsedRequest:
        """Return `request` with the result of verifying its client assertion, if it has one.

        An assertion with a valid signature counts as used, whatever the response to the request is.

        Args:
            request: The request.
            clients: The known clients by id.
            url: The URL of the request.
            now: The server's time in seconds since the epoch.
        """
        if request.credentials.method != "client_assertion":
            return request
        assertion = _client_assertions.check_assertion(request.form, clients, url=url, now=now)
        error = assertion.error
        if assertion.jti is not None:
            used_id = assertion.client_id, assertion.jti
            first = self._used_assertions.use(used_id, expires_at=assertion.expires_at, now=now)
            error = error or (None if first else _client_assertions.ALREADY_USED)
        credentials = replace(
            request.credentials,
            client_id=assertion.client_id,
            method=assertion.method or request.credentials.method,
            algorithm=assertion.algorithm,
            kid=assertion.kid,
            verified=error is None,
            error=error,
        )
        return replace(request, credentials=credentials)

    def verify_proof(
        self,
        headers: Sequence[str],
        *,
        method: str,
        url: str,
        now: float,
        nonces: Nonces | None,
        nonce_error: str,
        token: str | None = None,
    ) -> Proof:
        """Return the result of verifying the DPoP proof of a request.

        A proof with a valid signature counts as used, whatever the response to the request is.

        Args:
            headers: The values of all ``DPoP`` headers.
            method: The HTTP method of the request.
            url: The URL of the request.
            now: The server's time in seconds since the epoch.
            nonces: The accepted nonces; ``None`` if the proof needs no nonce.
            nonce_error: The ``error_description`` for a proof without an accepted nonce.
            token: The access token in the request if the request is for a resource, else ``None``.
        """
        proof = _dpop_proofs.check_proof(headers, method=method, url=url, now=now, token=token)
        error = proof.error
        if proof.jti is not None:
            used_id = proof.jkt, proof.jti
            first = self._used_proofs.use(used_id, expires_at=proof.expires_at, now=now)
            error = error or (None if first else _dpop_proofs.ALREADY_USED)
        if error is None and nonces is not None and not nonces.accepts(proof.nonce, now):
            error = use_dpop_nonce(nonce_error, nonces.current(now))
        if error is None and proof.jti is None:
            error = _dpop_proofs.WRONG_JTI
        return replace(proof, error=error)

    def rotate_nonces(self, now: float, *, forget: bool) -> None:
        """Replace every nonce.

        Args:
            now: The server's time in seconds since the epoch.
            forget: Whether the server stops accepting the old nonces at once.
        """
        for nonces in (*self.nonces.values(), self.resource_nonces):
            nonces.rotate(now, forget=forget)
