"""Client authentication with an assertion: a JWT that is signed for each request (RFC 7523)."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable, Hashable, Mapping
from pathlib import Path
from typing import Self, cast

from okta_tokens._auth.authentication import (
    Credential,
    CredentialMethod,
    TokenRequest,
    name_of,
)
from okta_tokens._auth.client_secret import ClientSecret, SecretSource, secret_problem
from okta_tokens._auth.files import UnreadableFile
from okta_tokens._auth.signing import (
    ALGORITHMS,
    KeyMaterial,
    Signer,
    load_key,
    load_thumbprint,
    raw_signature,
    read_material,
    sign_jwt,
)
from okta_tokens._runtime.arguments import text_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.errors import ConfigurationError, CredentialError

KeyResult = KeyMaterial | tuple[KeyMaterial, str]
KeyCallable = Callable[[], KeyResult | Awaitable[KeyResult]]
SignCallable = Callable[[bytes], Awaitable[bytes]]

_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFETIME = 300
"""Seconds. Okta refuses an assertion that is valid for more than an hour by Okta's clock."""
_BACKDATING = 30
"""Seconds by which `iat` lies in the past: Okta refuses an `iat` in the future of its clock."""
_MAX_KID = 255  # characters
_MIN_SECRETS = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Characters: as many as the hash has bytes (RFC 7518 section 3.2)."""


class ClientSecretJWT(ClientSecret):
    """Send a JWT that is signed with the client secret: `client_secret_jwt` (RFC 7523 section 2.2).

    The secret itself is not sent. Each request has an assertion of its own, as `PrivateKeyJWT`
    describes.

    Args:
        secret: See `ClientSecretBasic`. It has at least 32 characters for HS256, 48 for HS384 and
            64 for HS512.
        algorithm: `HS256`, `HS384` or `HS512`.

    Raises:
        ConfigurationError: If the secret is invalid (see `ClientSecretBasic`) or too short, or the
            algorithm is unknown.
    """

    __slots__ = ("algorithm",)

    algorithm: str

    def __init__(self, secret: SecretSource, *, algorithm: str = "HS256") -> None:
        self.algorithm = text_of(algorithm) or ""
        if self.algorithm in _MIN_SECRETS:
            problem = self._keep(secret)
        else:
            problem = f"the algorithm must be one of {', '.join(_MIN_SECRETS)}"
        if problem is not None:
            del self, secret, algorithm  # an error tracker records the locals
            message = f"ClientSecretJWT: {problem}"
            raise ConfigurationError(message)

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add a new assertion to the form.

        Args:
            request: The request, which is changed in place.

        Raises:
            CredentialError: If the callable raises or returns an invalid secret.
        """
        secret = await self._secret(request.client_id)
        request.secrets.append(secret)
        request.credential = secret
        signer = _SecretSigner(secret, self.algorithm)
        del secret
        await _add_assertion(request, signer)

    def _value(self) -> Hashable:
        return (super()._value(), self.algorithm)

    def _like(self) -> Self:
        made = super()._like()
        made.algorithm = self.algorithm
        return made

    def _problem(self, secret: object) -> str | None:
        problem = secret_problem(secret)
        shortest = _MIN_SECRETS[self.algorithm]
        if problem is None and len(text_of(secret) or "") < shortest:
            return (
                f"is too short for {self.algorithm}; use a secret of at least {shortest} characters"
            )
        return problem


class PrivateKeyJWT(CredentialMethod[Signer | Path | KeyCallable]):
    """Send a JWT that is signed with a private key: `private_key_jwt` (RFC 7523 section 2.2).

    The org authorization server grants `okta.*` scopes to apps only with this method, except to API
    service integrations (Okta: "Implement OAuth for Okta with a service app"). It needs the extra
    `jwt`.

    Each request has an assertion of its own: the audience is the URL of that request, the assertion
    expires five minutes later by Okta's clock, and its id is new.

    Args:
        key: The private key: RSA with at least 2048 bits, or on one of the curves P-256, P-384 and
            P-521. It is PEM, a JWK or a JWK Set as text or bytes, or in base64; DER as bytes; a
            JWK or a JWK Set as a mapping; or a key object of the `cryptography` package. Of a JWK
            Set, the key with the `kid` is used, or the only private one. It may also be a
            `pathlib.Path` to a file with one of them, which is read for every request (`~` is the
            home directory); or a callable without arguments, plain or async, that returns one of
            them, or a tuple of one of them and its `kid`, for every request. So a rotated key needs
            no restart. `ClientSecretBasic` says what a callable may do and how long it may take.
        kid: The id of the key, as Okta shows it; `None` for the `kid` of the JWK. An app that has
            several keys needs it.
        algorithm: `RS256`, `RS384`, `RS512`, `ES256`, `ES384` or `ES512`; `None` for the algorithm
            of the JWK, else of the key (`RS256` for RSA).

    Raises:
        ConfigurationError: If the key cannot be used: it is public, encrypted, too short, of
            another type or for another algorithm, or its file cannot be read; or if the extra is
            not installed. The message repeats nothing of the key.
    """

    __slots__ = ("_algorithm", "_kid", "_latest")

    _has_private_key = True
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
            material = read_material(key)
            loaded = load_key(material, kid=text_of(kid), algorithm=text_of(algorithm))
            problem = f"the key {loaded}" if isinstance(loaded, str) else None
            del material
        if problem is not None:
            del self, key, kid, algorithm, loaded  # an error tracker records the locals
            message = f"PrivateKeyJWT: {problem}"
            raise ConfigurationError(message)
        self._source = cast("Signer", loaded)
        if callable(key) or issubclass(type(key), Path):
            self._source = cast("Path | KeyCallable", key)
        self._kid = text_of(kid)
        self._algorithm = text_of(algorithm)
        self._latest = None

    @classmethod
    def from_signer(
        cls,
        sign: SignCallable,
        *,
        kid: str | None,
        algorithm: str,
        public_key: KeyMaterial | None = None,
    ) -> Self:
        """Make a method whose key never leaves a key management service or a hardware module.

        Args:
            sign: `async sign(signing_input: bytes) -> bytes` returns the signature in the form of
                RFC 7518 section 3. For a key on an elliptic curve it may also return DER, as such
                services do. The provider calls it for every request; `ClientSecretBasic` says how
                long it may take.
            kid: The id of the key, as Okta shows it; `None` if the app has only one key.
            algorithm: The algorithm of the key, as for `PrivateKeyJWT`.
            public_key: The public key: PEM or a JWK as text, PEM or DER as bytes, a JWK as a
                mapping, a `pathlib.Path` to a file with one of them, or a key object of the
                `cryptography` package. Processes that share tokens through a store recognize each
                other's key by it; it needs the extra `jwt`. With `None` they compare `kid` and
                algorithm; without a `kid` they share no tokens.

        Returns:
            The method.

        Raises:
            ConfigurationError: If `sign` is not callable, or the algorithm, the `kid` or the public
                key is invalid.
        """
        problem = _options_problem(kid, text_of(algorithm) or "")
        if not callable(cast("object", sign)):
            problem = "sign must be an async callable that takes and returns bytes"
        thumbprint = None
        if problem is None and public_key is not None:
            thumbprint, problem = _thumbprint(public_key)
        if problem is not None:
            del cls, sign, kid, algorithm, public_key
            message = f"PrivateKeyJWT: {problem}"
            raise ConfigurationError(message)
        return cls._with_signer(
            _RemoteSigner(sign, text_of(kid), text_of(algorithm) or "", thumbprint)
        )

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add a new assertion to the form.

        Args:
            request: The request, which is changed in place.

        Raises:
            CredentialError: If the key or the signature is not available.
        """
        signer = await self._signer()
        request.credential = signer
        await _add_assertion(request, signer)

    def __repr__(self) -> str:
        """Return the algorithm and the thumbprint of the key, or its file or callable."""
        source = self._source
        shown = f"<{name_of(source)}>" if callable(source) else repr(source)
        return f"PrivateKeyJWT({shown})"

    def _value(self) -> Hashable:
        return (super()._value(), self._kid, self._algorithm)

    async def _resolve(self, client_id: str) -> Self:  # noqa: ARG002 - a key is no id
        return self._with_signer(await self._signer())

    def _has_value(self) -> bool:
        return not (callable(self._source) or isinstance(self._source, Path))

    @classmethod
    def _with_signer(cls, signer: Signer) -> Self:
        made = cls.__new__(cls)
        made._source = signer
        made._kid = made._algorithm = made._latest = None
        return made

    def _credential_identity(self) -> str | None:
        source = self._source
        return None if callable(source) or isinstance(source, Path) else source.identity

    async def _signer(self) -> Signer:
        """Return the signer, and read the file or call the callable if there is one.

        Raises:
            CredentialError: If the file or the callable does not give a valid key.
        """
        source, kid = self._source, self._kid
        material: object
        if isinstance(source, Path):
            material = await asyncio.to_thread(read_material, source)
            if type(material) is UnreadableFile:
                message = f"the private key {material.problem}"
                raise CredentialError(message, retryable=True)
        elif callable(source):
            material = await self._call()
            if isinstance(material, tuple) and len(material) == 2:  # noqa: PLR2004 - a key, its id
                material, kid = material
            if isinstance(material, Mapping):
                material = dict(material)  # the callable may change the same mapping later
        else:
            return source
        if self._latest is None or self._latest[0] != (material, kid):
            # A worker thread loads the key, because the first one also loads the extra's packages.
            found = _Material(material, kid, self._algorithm)
            del material  # a cancellation passes the frames that await
            key = await asyncio.to_thread(found.load)
            if isinstance(key, str):
                origin = "" if isinstance(source, Path) else " from its callable"
                message = f"the private key{origin} {key}"
                raise CredentialError(message)
            self._latest = ((found.material, kid), key)
        return self._latest[1]


class _Material(Unserializable):
    """A key that is to be loaded; its repr does not show it."""

    __slots__ = ("algorithm", "kid", "material")

    def __init__(self, material: object, kid: str | None, algorithm: str | None) -> None:
        self.material = material
        self.kid = kid
        self.algorithm = algorithm

    def __repr__(self) -> str:
        """Return the algorithm, without the key."""
        return f"<key material for {self.algorithm}>"

    def load(self) -> Signer | str:
        """Return the key, or what is wrong with it."""
        return load_key(self.material, kid=self.kid, algorithm=self.algorithm)


class _SecretSigner(Unserializable):
    """A signer that has a secret (RFC 7518 section 3.2)."""

    __slots__ = ("_secret", "algorithm")

    kid = identity = None

    def __init__(self, secret: str, algorithm: str) -> None:
        self._secret = secret
        self.algorithm = algorithm

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the HMAC of the signing input."""
        return hmac.digest(
            self._secret.encode(), signing_input, f"sha{self.algorithm.removeprefix('HS')}"
        )


class _RemoteSigner(Credential[SignCallable]):
    """A signer whose key is elsewhere; two are equal if their callables, ids and algorithms are."""

    __slots__ = ("algorithm", "kid", "thumbprint")

    def __init__(
        self, sign: SignCallable, kid: str | None, algorithm: str, thumbprint: str | None
    ) -> None:
        self._source = sign
        self.kid = kid
        self.algorithm = algorithm
        self.thumbprint = thumbprint

    def __repr__(self) -> str:
        """Return the algorithm and the name of the callable."""
        return f"<{self.algorithm} by {name_of(self._source)}>"

    def _value(self) -> Hashable:
        return (super()._value(), self.kid, self.algorithm, self.thumbprint)

    @property
    def identity(self) -> str | None:
        """The thumbprint if there is one, or id and algorithm; `None` without an id."""
        if self.thumbprint is not None:
            return self.thumbprint
        return None if self.kid is None else f"{self.kid} {self.algorithm}"

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the signature that the callable makes.

        Raises:
            CredentialError: If the callable does not return a signature.
        """
        result = await self._call(signing_input)
        if isinstance(result, bytes) and (signature := raw_signature(result, self.algorithm)):
            return signature
        message = (
            f"the callable that signs returned no signature of {self.algorithm}; return the "
            "signature of its argument as bytes"
        )
        raise CredentialError(message)


def _thumbprint(public_key: object) -> tuple[str | None, str | None]:
    """Return the thumbprint of a public key, and what is wrong with the key; one is `None`."""
    thumbprint, problem = load_thumbprint(read_material(public_key))
    return thumbprint, problem and f"public_key {problem}"


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
    request.form["client_id"] = request.client_id  # optional, but some servers fail without it
    request.form["client_assertion_type"] = _TYPE
    request.form["client_assertion"] = assertion
    request.secrets.append(assertion)


def _options_problem(kid: object, algorithm: object) -> str | None:
    text = text_of(kid)
    if kid is not None and (text is None or not text.strip()):
        return "kid must be a string that is not empty, or None"
    if text is not None and (len(text) > _MAX_KID or not text.isprintable() or "-----" in text):
        return "kid must be the id of the key, as Okta shows it; it is sent in the clear"
    if algorithm is not None and text_of(algorithm) not in ALGORITHMS:
        return f"the algorithm must be one of {', '.join(ALGORITHMS)}"
    return None
