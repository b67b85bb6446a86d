"""The record of a request that the server received. A record has no secret and no token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from okta_tokens.sandbox._dpop_proofs import Proof
from okta_tokens.sandbox._request_parsing import ParsedRequest
from okta_tokens.sandbox._responses import Response


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request to a token, revocation or introspection endpoint, without its secrets.

    Args:
        at: When the request arrived, in seconds since the epoch.
        path: The path, without the query.
        client_id: The client id in the request, or ``None``. An id that the sandbox does not know
            is left out, because it may be a secret in the wrong place.
        method: How the client authenticated: ``client_secret_basic``, ``client_secret_post``,
            ``client_secret_jwt``, ``private_key_jwt``, ``client_assertion`` if the kind of
            assertion is unknown, ``multiple``, or ``None``.
        scopes: The requested scopes, in the order of the request.
        user_agent: The ``User-Agent`` header.
        retry_for: The ``X-Okta-Retry-For`` header.
        retry_count: The ``X-Okta-Retry-Count`` header.
        request_id: The ``X-Okta-Request-Id`` of the response.
        status: The status of the response; ``None`` if the server dropped the connection instead.
        error: The error code in the response, or ``None``.
        algorithm: The ``alg`` of the client assertion, or ``None``.
        kid: The ``kid`` of the client assertion, or ``None``.
        proof: Whether the request had a DPoP proof, valid or not.
        jkt: The thumbprint of the key that signed the proof, or ``None``.
        nonce: Whether the proof had a nonce, accepted or not.
    """

    at: float
    path: str
    client_id: str | None
    method: str | None
    scopes: tuple[str, ...]
    user_agent: str | None
    retry_for: str | None
    retry_count: str | None
    request_id: str
    status: int | None
    error: str | None
    algorithm: str | None = None
    kid: str | None = None
    proof: bool = False
    jkt: str | None = None
    nonce: bool = False


def received_request(
    request: web.BaseRequest,
    parsed: ParsedRequest,
    response: Response,
    *,
    arrived: float,
    request_id: str,
    dropped: bool,
    clients: Collection[str],
) -> ReceivedRequest:
    """Return the record of a request and its response.

    Args:
        request: The request.
        parsed: The parsed request, after verification.
        response: The response.
        arrived: When the request arrived, in seconds since the epoch.
        request_id: The ``X-Okta-Request-Id`` of the response.
        dropped: Whether the server drops the connection instead of responding.
        clients: The ids of the known clients.
    """
    credentials, proof = parsed.credentials, parsed.proof or Proof()
    return ReceivedRequest(
        at=arrived,
        path=request.rel_url.raw_path,
        client_id=credentials.client_id if credentials.client_id in clients else None,
        method=credentials.method,
        scopes=parsed.scopes,
        user_agent=request.headers.get("User-Agent"),
        retry_for=request.headers.get("X-Okta-Retry-For"),
        retry_count=request.headers.get("X-Okta-Retry-Count"),
        request_id=request_id,
        status=None if dropped else response.status,
        error=response.error_code,
        algorithm=credentials.algorithm,
        kid=credentials.kid,
        proof=parsed.proof is not None,
        jkt=proof.jkt,
        nonce=proof.nonce is not None,
    )
