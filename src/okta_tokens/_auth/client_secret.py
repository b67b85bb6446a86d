"""Client authentication with a shared secret, sent in a header or in the body."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import cast

from okta_tokens._auth.authentication import Credential, TokenRequest, call, name_of
from okta_tokens.errors import ConfigurationError, CredentialError

SecretCallable = Callable[[], str | Awaitable[str]]

_PLACEHOLDER = re.compile(r"\$?\{[^{}]*\}|<[^<>]*>")


class ClientSecret(Credential[str | SecretCallable]):
    """A client secret, or the callable that returns it for each request.

    Args:
        secret: See `ClientSecretBasic`.

    Raises:
        ConfigurationError: If the secret is invalid, see `ClientSecretBasic`.
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

    async def _secret(self) -> str:
        """Return the secret, and call the callable if there is one.

        Raises:
            CredentialError: If the callable raises or returns an invalid secret.
        """
        if isinstance(self._source, str):
            return self._source
        secret = await call(self._source)
        problem = self._problem(secret)
        if problem is None:
            return cast("str", secret)
        message = f"the callable for the client secret returned a value that {problem}"
        raise CredentialError(message)


class ClientSecretBasic(ClientSecret):
    """Send the client id and secret as HTTP Basic credentials: `client_secret_basic`.

    This is the default of Okta's apps (Okta: "Client authentication methods"). The id and the
    secret are sent as they are (RFC 7617), as Okta documents it, and not form-encoded first (RFC
    6749 section 2.3.1). For the secrets that Okta generates both are the same. Servers differ about
    a secret of your own that contains `%`, `+` or `:`; use `ClientSecretPost` for such a secret.

    Args:
        secret: The client secret: a string, or a callable without arguments, plain or async, that
            returns it. The provider calls the callable for every request, so a rotated secret needs
            no restart. The callable runs on the event loop, within `RetryPolicy.request_timeout`,
            while the request occupies one of the places of its domain
            (`TokenProvider(max_concurrent_requests=…)`). So it should be quick, and must not wait
            for a token of the same domain. A callable that is cancelled or times out fails the
            attempt.

    Raises:
        ConfigurationError: If the secret is not a string, is empty, is a placeholder, is not
            printable ASCII, or begins or ends with white space.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the `Authorization` header.

        Args:
            request: The request, which is changed in place.

        Raises:
            CredentialError: If the callable raises or returns an invalid secret.
        """
        secret = await self._secret()
        credentials = b64encode(f"{request.client_id}:{secret}".encode()).decode()
        request.headers["Authorization"] = f"Basic {credentials}"
        request.secrets += [secret, credentials]
        request.credential = secret


class ClientSecretPost(ClientSecret):
    """Send the client id and secret in the body: `client_secret_post` (RFC 6749 section 2.3.1).

    Args:
        secret: See `ClientSecretBasic`.

    Raises:
        ConfigurationError: If the secret is invalid, see `ClientSecretBasic`.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add `client_id` and `client_secret` to the form.

        Args:
            request: The request, which is changed in place.

        Raises:
            CredentialError: If the callable raises or returns an invalid secret.
        """
        secret = await self._secret()
        request.form["client_id"] = request.client_id
        request.form["client_secret"] = secret
        request.secrets.append(secret)
        request.credential = secret


def secret_problem(secret: object) -> str | None:
    """Return what is wrong with a secret, as the end of a sentence that begins with its name.

    Args:
        secret: What the user or the callable gave. The problem does not repeat it.

    Returns:
        The problem, or `None` if the secret is valid.
    """
    if not isinstance(secret, str):
        return "is not a string; pass the client secret as a string"
    if not secret.strip():
        return "is empty; copy the client secret from your app"
    if secret != secret.strip():
        return "begins or ends with white space; remove it (a file often ends with a line break)"
    if _PLACEHOLDER.fullmatch(secret):
        return "is a placeholder; replace it with the client secret of your app"
    if not (secret.isascii() and secret.isprintable()):
        return "contains a character that is not printable ASCII; copy the secret again"
    return None
