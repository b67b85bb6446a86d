"""Client authentication with a shared secret, sent in a header or in the body."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, cast

from okta_tokens._auth.authentication import CredentialMethod, TokenRequest, name_of
from okta_tokens._auth.files import UnreadableFile, read_secret
from okta_tokens._runtime.arguments import text_of
from okta_tokens.errors import ConfigurationError, CredentialError

SecretCallable = Callable[[], str | Awaitable[str]]
SecretSource = str | Path | SecretCallable

SWAPPED = (
    "the callable for the client secret returned a client id, and the client id of the OktaClient "
    "is the secret; exchange them, and rotate the secret, which logs may contain"
)
"""The message of an error that does not name its key, because the key's client id is the secret."""

_MAX_SECRET = 4096  # characters; Okta allows 100
ID_PREFIX = "0oa"
"""How the client ids that Okta makes begin; an administrator may choose another id."""
_MAX_ID = 32
"""Characters of a client id that Okta makes, at most. They have 20, and the secrets 40 or 64."""

_PLACEHOLDER = re.compile(r"\$?\{[^{}]*\}|<[^<>]*>")


class ClientSecret(CredentialMethod[SecretSource]):
    """A client secret, or the file or callable that has it for each request.

    Args:
        secret: See `ClientSecretBasic`.

    Raises:
        ConfigurationError: If the secret is invalid, see `ClientSecretBasic`.
    """

    __slots__ = ()

    def __init__(self, secret: SecretSource) -> None:
        problem = self._keep(secret)
        if problem is not None:
            message = f"{type(self).__name__}: {problem}"
            del self, secret  # an error tracker records the locals of the frame that raises
            raise ConfigurationError(message)

    def _is_swapped_with(self, client_id: str) -> bool:
        """Tell whether the secret and a client id are in each other's place.

        A callable is not called.

        Args:
            client_id: The client id.
        """
        return isinstance(self._source, str) and _are_swapped(client_id, self._source)

    def __repr__(self) -> str:
        """Return the method's name, and the file or callable if there is one; never the secret."""
        source = self._source
        shown = f"<{name_of(source)}>" if callable(source) else "<secret>"
        shown = repr(source) if isinstance(source, Path) else shown
        return f"{type(self).__name__}({shown})"

    def _keep(self, secret: object) -> str | None:
        """Keep a secret, a file or a callable, or return what is wrong with the secret."""
        if issubclass(type(secret), Path):
            return self._keep_file(cast("Path", secret))
        text = text_of(secret)
        if text is None and callable(secret):
            self._source = secret
            return None
        problem = self._problem(text)
        if problem is not None:
            return f"the secret {problem}"
        self._source = text or ""
        return None

    def _keep_file(self, path: Path) -> str | None:
        found = read_secret(path)
        is_read = isinstance(found, str)
        problem = self._problem(found) if is_read else cast("UnreadableFile", found).problem
        self._source = path
        return problem and f"the secret {problem}"

    def _problem(self, secret: object) -> str | None:
        return secret_problem(secret)

    async def _resolve(self, client_id: str) -> Self:
        resolved = self._like()
        resolved._source = await self._secret(client_id)
        return resolved

    def _like(self) -> Self:
        """Return an instance with the same options and without a secret."""
        return type(self).__new__(type(self))

    def _has_value(self) -> bool:
        return isinstance(self._source, str)

    def _credential_identity(self) -> str | None:
        return self._source if isinstance(self._source, str) else None

    async def _load(self) -> str | CredentialError:
        """Return what the file or the callable has, or what is wrong with it."""
        source = self._source
        if isinstance(source, Path):
            found = await asyncio.to_thread(read_secret, source)
            if isinstance(found, UnreadableFile):
                return CredentialError(f"the client secret {found.problem}", retryable=True)
            secret, origin = text_of(found), "the client secret in the file"
        else:
            secret = text_of(await self._call())
            origin = "the callable for the client secret returned a value that"
        problem = self._problem(secret)
        return CredentialError(f"{origin} {problem}") if problem or secret is None else secret

    async def _secret(self, client_id: str) -> str:
        """Return the secret, and read the file or call the callable if there is one.

        Raises:
            CredentialError: If the file cannot be read, the callable raises, or the secret is
                invalid.
        """
        if isinstance(self._source, str):
            return self._source
        secret = await self._load()
        if isinstance(secret, CredentialError):
            raise secret
        if _are_swapped(client_id, secret):
            raise CredentialError(SWAPPED)
        return secret


class ClientSecretBasic(ClientSecret):
    """Send the client id and secret as HTTP Basic credentials: `client_secret_basic`.

    This is the default of Okta's apps (Okta: "Client authentication methods"). The id and the
    secret are sent as they are (RFC 7617), as Okta documents it, and not form-encoded first (RFC
    6749 section 2.3.1). For the secrets that Okta generates both are the same. Servers differ about
    a secret of your own that contains `%`, `+` or `:`; use `ClientSecretPost` for such a secret.

    Args:
        secret: The client secret: a string; a `pathlib.Path` to a file with it, which is read for
            every request; or a callable without arguments, plain or async, that returns it. The
            provider calls the callable for every request. So a rotated secret needs no restart. `~`
            is the home directory, and a line break at the end of the file is not part of the
            secret. The callable runs on the event loop, within `RetryPolicy.request_timeout`,
            while the request occupies one of the places of its domain
            (`TokenProvider(max_concurrent_requests=…)`). So it should be quick, and must not wait
            for a token of the same domain. A plain callable that takes more than 50 ms belongs in a
            thread: `lambda: asyncio.to_thread(read_secret)`. A callable that is cancelled or times
            out fails the attempt. With a shared store, the provider calls it before it looks for a
            token in the store, and uses the value for the first request, too.

    Raises:
        ConfigurationError: If the secret is not a string, is empty, is a placeholder, is not
            printable ASCII, or begins or ends with white space; or if its file cannot be read.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the `Authorization` header.

        Args:
            request: The request, which is changed in place.

        Raises:
            CredentialError: If the secret is not available.
        """
        secret = self._source
        if not isinstance(secret, str):
            secret = await self._secret(request.client_id)
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
            CredentialError: If the secret is not available.
        """
        secret = await self._secret(request.client_id)
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
    text = text_of(secret)
    if text is None:
        return "is not a string; pass the client secret as a string"
    if not text.strip():
        return "is empty; copy the client secret from your app"
    if text != text.strip():
        return "begins or ends with white space; remove it (a file often ends with a line break)"
    if _PLACEHOLDER.fullmatch(text):
        return "is a placeholder; replace it with the client secret of your app"
    if not (text.isascii() and text.isprintable()):
        return "contains a character that is not printable ASCII; copy the secret again"
    is_too_long = len(text) > _MAX_SECRET
    return f"has more than {_MAX_SECRET} characters; copy it again" if is_too_long else None


def _are_swapped(client_id: str, secret: str) -> bool:
    is_id = secret.startswith(ID_PREFIX) and len(secret) <= _MAX_ID
    return is_id and not client_id.startswith(ID_PREFIX)
