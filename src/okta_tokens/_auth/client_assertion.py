"""Client assertions: a JWT that the client makes and signs for each request (RFC 7523)."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self, cast

from okta_tokens._auth.authentication import Credential, TokenRequest, ask, name_of
from okta_tokens._auth.client_secret import ClientSecret, SecretCallable, secret_problem
from okta_tokens._auth.signing import (
    ALGORITHMS,
    KeyMaterial,
    Signer,
    load_key,
    raw_signature,
    read_file,
    sign_jwt,
)
from okta_tokens.errors import ConfigurationError, CredentialError

KeyAnswer = KeyMaterial | tuple[KeyMaterial, str]
KeyCallable = Callable[[], KeyAnswer | Awaitable[KeyAnswer]]
SignCallable = Callable[[bytes], Awaitable[bytes]]

_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFETIME = 300
"""Seconds. Okta refuses what lives for an hour, by its own clock."""
_BACKDATING = 30
"""Seconds by which `iat` lies in the past: Okta refuses one that lies in its future."""
_MIN_SECRETS = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Characters: as many as the hash has bytes (RFC 7518 section 3.2)."""


class ClientSecretJWT(ClientSecret):
    """Send a JWT that is signed with the client secret: `client_secret_jwt` (RFC 7523 section 2.2).

    The secret itself does not travel. An assertion is for one request, as with `PrivateKeyJWT`.

    Args:
        secret: As for `ClientSecretBasic`; of at least 32 characters for HS256, 48 for HS384, and
            64 for HS512.
        algorithm: `HS256`, `HS384` or `HS512`.

    Raises:
        ConfigurationError: As for `ClientSecretBasic`; or if the secret is too short, or there is
            no such algorithm.
    """

    __slots__ = ("algorithm",)

    algorithm: str

    def __init__(self, secret: str | SecretCallable, *, algorithm: str = "HS256") -> None:
        if algorithm not in _MIN_SECRETS:
            del self, secret, algorithm
            message = f"ClientSecretJWT: the algorithm must be one of {', '.join(_MIN_SECRETS)}"
            raise ConfigurationError(message)
        self.algorithm = algorithm
        super().__init__(secret)

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add a new assertion to the form.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the secret cannot be had.
        """
        secret = await self._read()
        request.secrets.append(secret)
        request.credential = secret
        await _add_assertion(request, _SecretSigner(secret, self.algorithm))

    def _identity(self) -> Hashable:
        return (super()._identity(), self.algorithm)

    def _problem(self, secret: object) -> str | None:
        problem = secret_problem(secret)
        shortest = _MIN_SECRETS[self.algorithm]
        if problem is None and isinstance(secret, str) and len(secret) < shortest:
            return f"is too short for {self.algorithm}, which takes {shortest} characters"
        return problem


class PrivateKeyJWT(Credential[Signer | Path | KeyCallable]):
    """Send a JWT that is signed with a private key: `private_key_jwt` (RFC 7523 section 2.2).

    With no other method does the org's own authorization server grant `okta.*` scopes to an app
    (but see API service integrations). The extra `jwt` has what it takes.

    Every request has an assertion of its own: its audience is the URL of that request, it expires
    five minutes later by Okta's clock, and its id is new.

    Args:
        key: The private key: RSA of at least 2048 bits, or one of the curves P-256, P-384 and
            P-521. PEM or a JWK as text; PEM or DER as bytes; a JWK as a mapping; an object of the
            `cryptography` package; a `pathlib.Path` to a file of one of them, which is read for
            every request; or a callable without arguments, plain or async, that returns one, or a
            tuple of one and its `kid`, and is asked for every request. So a rotated key needs no
            restart. How quick a callable should be, see `ClientSecretBasic`.
        kid: The key's id, as Okta shows it; that of the JWK if None. An app that has several keys
            needs it.
        algorithm: `RS256`, `RS384`, `RS512`, `ES256`, `ES384` or `ES512`; if None, as the JWK says,
            or else the one that the key is made for, which of RSA is `RS256`.

    Raises:
        ConfigurationError: If the key cannot be used: it is public, encrypted, too short, of
            another type or for another algorithm, or its file cannot be read; or if the extra is
            missing. The message repeats nothing of the key.
    """

    __slots__ = ("_algorithm", "_kid", "_latest")

    _latest: tuple[object, Signer] | None

    def __init__(
        self,
        key: KeyMaterial | KeyCallable,
        *,
        kid: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        problem = _options_problem(kid, algorithm)
        loaded: Signer | str | None = None
        if problem is None and not callable(key):
            material: object = read_file(key) if isinstance(key, Path) else key
            loaded = load_key(material, kid=kid, algorithm=algorithm)
            problem = f"the key {loaded}" if isinstance(loaded, str) else None
            del material
        if problem is not None:
            del self, key, kid, algorithm, loaded  # an error tracker records the locals
            message = f"PrivateKeyJWT: {problem}"
            raise ConfigurationError(message)
        self._source = cast("Signer", loaded)  # of which nothing but the key is kept
        if callable(key) or isinstance(key, Path):
            self._source = key
        self._kid = kid
        self._algorithm = algorithm
        self._latest = None

    @classmethod
    def from_signer(cls, sign: SignCallable, *, kid: str | None, algorithm: str) -> Self:
        """Make one whose key never leaves a key management service or a hardware module.

        Args:
            sign: `async sign(signing_input: bytes) -> bytes`; returns the signature, as
                RFC 7518 section 3 has it, or in the DER in which such services return one of a key
                on an elliptic curve. It is asked for every request.
            kid: The key's id, as Okta shows it; None if the app has one key only.
            algorithm: How it signs, as for `PrivateKeyJWT`.

        Raises:
            ConfigurationError: If `sign` cannot be called, or there is no such algorithm.
        """
        problem = _options_problem(kid, algorithm or "")
        if not callable(cast("object", sign)):
            problem = "sign must be an async callable that takes and returns bytes"
        if problem is not None:
            del cls, sign, kid, algorithm
            message = f"PrivateKeyJWT: {problem}"
            raise ConfigurationError(message)
        self = cls.__new__(cls)
        self._source = _RemoteSigner(sign, kid, algorithm)
        self._kid = self._algorithm = self._latest = None
        return self

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add a new assertion to the form.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the key or the signature cannot be had.
        """
        signer = await self._signer()
        request.credential = signer
        await _add_assertion(request, signer)

    def __repr__(self) -> str:
        """Return which key it is: its algorithm and thumbprint, its file or its callable."""
        source = self._source
        shown = f"<{name_of(source)}>" if callable(source) else repr(source)
        return f"PrivateKeyJWT({shown})"

    def _identity(self) -> Hashable:
        return (super()._identity(), self._kid, self._algorithm)

    async def _signer(self) -> Signer:
        """Return who signs; read the file or ask the callable if there is one.

        Raises:
            CredentialError: If that brings no key.
        """
        source, kid = self._source, self._kid
        material: object
        if isinstance(source, Path):
            material = await asyncio.to_thread(read_file, source)
        elif callable(source):
            material = await ask(source)
            if isinstance(material, tuple) and len(material) == 2:  # noqa: PLR2004 - a key, its id
                material, kid = material
            if isinstance(material, Mapping):
                material = dict(material)  # the next time it may be another one in the same object
        else:
            return source
        if self._latest is None or self._latest[0] != (material, kid):
            # To check an RSA key takes a while.
            load = partial(load_key, material, kid=kid, algorithm=self._algorithm)
            key = await asyncio.to_thread(load)
            if isinstance(key, str):
                whence = "its file" if isinstance(source, Path) else "the callable for it"
                message = f"the private key from {whence} {key}"
                raise CredentialError(message)
            self._latest = ((material, kid), key)
        return self._latest[1]


@dataclass(frozen=True, slots=True)
class _SecretSigner:
    """Signs with a secret (RFC 7518 section 3.2)."""

    secret: str = field(repr=False)
    algorithm: str
    kid: None = None

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the signature."""
        return hmac.digest(
            self.secret.encode(), signing_input, f"sha{self.algorithm.removeprefix('HS')}"
        )


class _RemoteSigner(Credential[SignCallable]):
    """Signs elsewhere; equal to another one if the callable is the same, as a credential is."""

    __slots__ = ("algorithm", "kid")

    def __init__(self, sign: SignCallable, kid: str | None, algorithm: str) -> None:
        self._source = sign
        self.kid = kid
        self.algorithm = algorithm

    def __repr__(self) -> str:
        """Return the callable's name, and how it signs."""
        return f"<{self.algorithm} by {name_of(self._source)}>"

    def _identity(self) -> Hashable:
        return (super()._identity(), self.kid, self.algorithm)

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the signature.

        Raises:
            CredentialError: If the callable returns none.
        """
        answer = await ask(partial(self._source, signing_input))
        if isinstance(answer, bytes) and (signature := raw_signature(answer, self.algorithm)):
            return signature
        message = f"the callable that should sign returned no signature of {self.algorithm}"
        raise CredentialError(message)


async def _add_assertion(request: TokenRequest, signer: Signer) -> None:
    now = int(request.now)
    claims = {
        "iss": request.client_id,
        "sub": request.client_id,
        "aud": request.url,
        "iat": now - _BACKDATING,
        "exp": now + _LIFETIME,
        "jti": uuid.uuid4().hex,
    }
    header = {"typ": "JWT"} if signer.kid is None else {"typ": "JWT", "kid": signer.kid}
    assertion = await sign_jwt(signer, claims, header)
    request.form["client_assertion_type"] = _TYPE
    request.form["client_assertion"] = assertion
    request.secrets.append(assertion)


def _options_problem(kid: object, algorithm: object) -> str | None:
    if kid is not None and not (isinstance(kid, str) and kid.strip()):
        return "kid must be a string that is not empty, or None"
    if algorithm is not None and algorithm not in ALGORITHMS:
        return f"the algorithm must be one of {', '.join(ALGORITHMS)}"
    return None
