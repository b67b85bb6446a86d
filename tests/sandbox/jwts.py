"""Keys, assertions and proofs, made by joserfc alone: what a client would send."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.sandbox.support import START, TOKEN, Harness, basic

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = [f"{family}{size}" for family in ("RS", "ES", "HS", "PS") for size in (256, 384, 512)]
SECRET = "a-client-secret-of-32-characters"

Curve = Literal["P-256", "P-384", "P-521"]
CURVES: dict[str, Curve] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def ec_key(name: str = "one", curve: Curve = "P-256") -> ECKey:
    """Return the elliptic key of that name, with the name as its `kid`."""
    return _ec_key(name, curve)


def rsa_key(name: str = "one", bits: int = 2048) -> RSAKey:
    """Return the RSA key of that name, with the name as its `kid`."""
    return _rsa_key(name, bits)


@cache
def _ec_key(name: str, curve: Curve) -> ECKey:
    return ECKey.generate_key(curve, {"kid": name})


@cache
def _rsa_key(name: str, bits: int) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": name})


def public(key: ECKey | RSAKey, **changes: object) -> dict[str, object]:
    """Return a key's public JWK, with changes; None takes a member away."""
    return _changed({**key.as_dict(private=False)}, changes)


def key_for(algorithm: str) -> ECKey | RSAKey:
    """Return a key that fits an algorithm."""
    return ec_key(curve=CURVES[algorithm]) if algorithm in CURVES else rsa_key()


def sign(
    header: Mapping[str, Any], claims: Mapping[str, object], key: ECKey | RSAKey | OctKey
) -> str:
    """Return a JWT."""
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    return jws.serialize_compact(dict(header), json.dumps(claims), key, registry=registry)


def unsigned(header: object, claims: object, signature: str = "") -> str:
    """Return what has the form of a JWT, whatever is in it."""
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(
        [*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), signature]
    )


def assertion(
    url: str,
    key: ECKey | RSAKey | OctKey | None = None,
    *,
    client_id: str = "signer",
    algorithm: str = "ES256",
    now: float = START,
    header: Mapping[str, object] | None = None,
    **changes: object,
) -> str:
    """Return a client assertion, good if nothing is changed; None takes a claim away."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": url,
        "exp": int(now) + 300,
        "jti": secrets.token_hex(8),
    }
    fields = _changed({"alg": algorithm, "kid": "one"}, header or {})
    return sign(fields, _changed(claims, changes), key or key_for(algorithm))


def hmac_assertion(
    url: str,
    secret: str = SECRET,
    algorithm: str = "HS256",
    **more: Any,  # noqa: ANN401 — as `assertion` takes them
) -> str:
    """Return a client assertion that a secret signs."""
    more = {"client_id": "hasher", "header": {"kid": None}} | more
    return assertion(url, OctKey.import_key(secret), algorithm=algorithm, **more)


def proof(
    url: str,
    key: ECKey | RSAKey | None = None,
    *,
    method: str = "POST",
    algorithm: str = "ES256",
    now: float = START,
    token: str | None = None,
    header: Mapping[str, object] | None = None,
    **changes: object,
) -> str:
    """Return a DPoP proof, good if nothing is changed; None takes a claim away."""
    key = key or key_for(algorithm)
    claims: dict[str, object] = {
        "htm": method,
        "htu": url,
        "iat": int(now),
        "jti": secrets.token_hex(8),
    }
    if token is not None:
        claims["ath"] = access_token_hash(token)
    fields = {"typ": "dpop+jwt", "alg": algorithm, "jwk": public(key, kid=None)}
    return sign(_changed(fields, header or {}), _changed(claims, changes), key)


def access_token_hash(token: str) -> str:
    """Return the `ath` of a token (RFC 9449 §4.2)."""
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def asserted(value: str, **more: str) -> dict[str, str]:
    """Return the form parameters of a client assertion."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": value, **more}


async def bound_token(here: Harness) -> str:
    """Return a token that is bound to the usual elliptic key."""
    value = proof(here.sandbox.origin + TOKEN, nonce=here.sandbox.dpop_nonce())
    reply = await here.ask(headers={**basic(), "DPoP": value})
    assert (reply.status, reply.json["token_type"]) == (200, "DPoP")
    token: str = reply.json["access_token"]
    return token


def _changed(fields: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}
