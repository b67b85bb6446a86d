"""Keys, assertions and proofs as a client sends them, made with joserfc only."""

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
    """Return the elliptic-curve key with this name, which is also its `kid`."""
    return _ec_key(name, curve)


def rsa_key(name: str = "one", bits: int = 2048) -> RSAKey:
    """Return the RSA key with this name, which is also its `kid`."""
    return _rsa_key(name, bits)


@cache
def _ec_key(name: str, curve: Curve) -> ECKey:
    return ECKey.generate_key(curve, {"kid": name})


@cache
def _rsa_key(name: str, bits: int) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": name})


def public(key: ECKey | RSAKey, **changes: object) -> dict[str, object]:
    """Return the public JWK of a key, with changes; `None` removes a member."""
    return _changed({**key.as_dict(private=False)}, changes)


def key_for(algorithm: str) -> ECKey | RSAKey:
    """Return a key for an algorithm."""
    return ec_key(curve=CURVES[algorithm]) if algorithm in CURVES else rsa_key()


def sign(
    header: Mapping[str, Any], claims: Mapping[str, object], key: ECKey | RSAKey | OctKey
) -> str:
    """Return a JWT."""
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    return jws.serialize_compact(dict(header), json.dumps(claims), key, registry=registry)


def unsigned(header: object, claims: object, signature: str = "") -> str:
    """Return a JWT with any header and claims, and without a valid signature."""
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
    """Return a client assertion, valid unless it is changed; `None` removes a claim."""
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
    **more: Any,  # noqa: ANN401 — the arguments of `assertion`
) -> str:
    """Return a client assertion that is signed with a secret."""
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
    """Return a DPoP proof, valid unless it is changed; `None` removes a claim."""
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


def assertion_form(value: str, **more: str) -> dict[str, str]:
    """Return the form parameters of a client assertion."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": value, **more}


async def bound_token(harness: Harness) -> str:
    """Return a token that is bound to the default elliptic-curve key."""
    value = proof(harness.sandbox.origin + TOKEN, nonce=harness.sandbox.dpop_nonce())
    response = await harness.request_token(headers={**basic(), "DPoP": value})
    assert (response.status, response.json["token_type"]) == (200, "DPoP")
    token: str = response.json["access_token"]
    return token


def _changed(fields: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}
