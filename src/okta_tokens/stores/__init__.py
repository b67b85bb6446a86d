"""Share tokens among processes: a fleet costs Okta one request for each token.

Example:
    ```python
    from okta_tokens.stores import RedisTokenStore

    keys = os.environ["TOKEN_STORE_KEYS"].split()  # of `okta-tokens store-key`; the first one seals

    async with (
        RedisTokenStore("rediss://tokens.acme.internal", keys=keys) as store,
        TokenProvider(store=store) as provider,
    ):
        ...
    ```
"""

from okta_tokens._store import SharedToken, TokenStore, UnreadableEntry
from okta_tokens.stores._redis import RedisTokenStore
from okta_tokens.stores._sealing import generate_key

__all__ = ["RedisTokenStore", "SharedToken", "TokenStore", "UnreadableEntry", "generate_key"]
