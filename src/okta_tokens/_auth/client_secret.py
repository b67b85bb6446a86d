"""Client authentication with a shared secret, sent in a header or in the body."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import cast

from okta_tokens._auth.authentication import Credential, TokenRequest, ask, name_of
from okta_tokens.errors import ConfigurationError, CredentialError

SecretCallable = Callable[[], str | Awaitable[str]]

_PLACEHOLDER = re.compile(r"\$?\{[^{}]*\}|<[^<>]*>")


class ClientSecret(Credential[str | SecretCallable]):
    """A secret, or the callable that is asked for it.

    Args:
        secret: As for `ClientSecretBasic`.

    Raises:
        ConfigurationError: As for `ClientSecretBasic`.
    """

    __slots__ = ()

    def __init__(self, secret: str | SecretCallable) -> None:
        problem = None if callable(secret) else self._problem(secret)
        if problem is None:
            self._source = secret
            return
        message = f"{type(self).__name__}: the secret {problem}"
        del self, secret  # an error tracker records the locals of the frame that raises
        raise ConfigurationError(message)

    def __repr__(self) -> str:
        """Return the method's name, and the callable if there is one; never the secret."""
        shown = "<secret>" if isinstance(self._source, str) else f"<{name_of(self._source)}>"
        return f"{type(self).__name__}({shown})"

    def _problem(self, secret: object) -> str | None:
        return secret_problem(secret)

    async def _read(self) -> str:
        """Return the secret; ask for it if it is a callable.

        Raises:
            CredentialError: If the callable raises, or returns something that is no secret.
        """
        if isinstance(self._source, str):
            return self._source
        secret = await ask(self._source)
        problem = self._problem(secret)
        if problem is None:
            return cast("str", secret)
        message = f"the callable that should return the client secret returned one that {problem}"
        raise CredentialError(message)


class ClientSecretBasic(ClientSecret):
    """Send the client id and secret as HTTP Basic credentials: `client_secret_basic`.

    This is the default of Okta's apps. Id and secret are sent as they are (RFC 7617), as Okta
    documents it, not form-encoded first (RFC 6749 section 2.3.1); for secrets that Okta generates
    the two are the same. For one of your own that holds `%`, `+` or `:`, `ClientSecretPost` is the
    method on which all servers agree.

    Args:
        secret: The client secret: a string, or a callable without arguments, plain or async, that
            returns it. A callable is asked for every request, on the event loop and within the
            request's time-out, so that a rotated secret needs no restart. Meanwhile the request
            holds one of its domain's places, so it should be quick, and not wait for a token of
            the same domain.

    Raises:
        ConfigurationError: If the secret is no string, empty, a placeholder, not printable ASCII,
            or begins or ends with white space.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the `Authorization` header.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the secret cannot be had.
        """
        secret = await self._read()
        credentials = b64encode(f"{request.client_id}:{secret}".encode()).decode()
        request.headers["Authorization"] = f"Basic {credentials}"
        request.secrets += [secret, credentials]
        request.credential = secret


class ClientSecretPost(ClientSecret):
    """Send the client id and secret in the body: `client_secret_post` (RFC 6749 section 2.3.1).

    Args:
        secret: As for `ClientSecretBasic`.

    Raises:
        ConfigurationError: As for `ClientSecretBasic`.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add `client_id` and `client_secret` to the form.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the secret cannot be had.
        """
        secret = await self._read()
        request.form["client_id"] = request.client_id
        request.form["client_secret"] = secret
        request.secrets.append(secret)
        request.credential = secret


def secret_problem(secret: object) -> str | None:
    """Return what is wrong with a secret, as the end of a sentence that begins with its role."""
    if not isinstance(secret, str):
        return "must be a string"
    if not secret.strip():
        return "is empty"
    if secret != secret.strip():
        return "begins or ends with white space; was it read from a file with its line break?"
    if _PLACEHOLDER.fullmatch(secret):
        return "is a placeholder; put the real one in its place"
    if not (secret.isascii() and secret.isprintable()):
        return "holds a character that is not printable ASCII"
    return None
