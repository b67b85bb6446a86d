"""Access tokens from Okta's client-credentials flow: cached, fetched once, renewed in background.

Example:
    ```python
    from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider

    acme = OktaClient("acme.okta.com", "0oa1b2c3", ClientSecretBasic(secret))

    async with TokenProvider() as provider:
        token = await provider.get_token(acme, "orders:read")
        headers = {"Authorization": token.authorization}
    ```
"""

from importlib import import_module
from typing import TYPE_CHECKING

from okta_tokens import errors, events
from okta_tokens._auth.authentication import ClientAuthentication, TokenRequest
from okta_tokens._auth.client_secret import ClientSecretBasic, ClientSecretPost
from okta_tokens._auth.dpop import DPoP
from okta_tokens._model.client import OktaClient
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._provider import TokenProvider
from okta_tokens._runtime.clock import Clock, SystemClock
from okta_tokens._source import AnyTokenSource, TokenSource
from okta_tokens._status import KeyStatus, Readiness, Stats
from okta_tokens._version import __version__

__all__ = [
    "AccessToken",
    "AnyTokenSource",
    "ClientAuthentication",
    "ClientSecretBasic",
    "ClientSecretJWT",
    "ClientSecretPost",
    "Clock",
    "DPoP",
    "KeyStatus",
    "OktaClient",
    "PrivateKeyJWT",
    "Readiness",
    "RefreshPolicy",
    "RetryPolicy",
    "Stats",
    "SystemClock",
    "TokenKey",
    "TokenProvider",
    "TokenRequest",
    "TokenSource",
    "__version__",
    "errors",
    "events",
]

# A program that authenticates with a secret does not load what signs assertions. Type checkers see
# an import in its place, and no `__getattr__`, so that they still find misspelt names.
if TYPE_CHECKING:
    from okta_tokens._auth.client_assertion import ClientSecretJWT, PrivateKeyJWT
else:
    _LOADED_LATER = {
        "ClientSecretJWT": "okta_tokens._auth.client_assertion",
        "PrivateKeyJWT": "okta_tokens._auth.client_assertion",
    }

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used (PEP 562)."""
        if name not in _LOADED_LATER:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        value = globals()[name] = getattr(import_module(_LOADED_LATER[name]), name)
        return value

    def __dir__() -> list[str]:
        """Return every name of the module, also those that were not used yet."""
        return sorted({*globals(), *_LOADED_LATER})
