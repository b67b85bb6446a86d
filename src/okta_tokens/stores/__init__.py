"""Share tokens between processes, so that a fleet sends Okta one request for each token.

This module holds the protocol that a store implements: `TokenStore`, and its optional parts
`FleetStore` and `NotifyingStore`. The store for Redis and Valkey is
`okta_tokens.stores.redis.RedisTokenStore`, with the extra `redis`.
"""

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._sharing.fleet_protocol import (
    DomainState,
    FleetStore,
    NotificationsRefusedError,
    NotifyingStore,
    SharedFailure,
    SharedRejection,
    StoredState,
    Subscription,
)
from okta_tokens._sharing.store_protocol import SharedToken, TokenStore, UnreadableEntry

__all__ = [
    "DomainState",
    "FleetStore",
    "NotificationsRefusedError",
    "NotifyingStore",
    "SharedFailure",
    "SharedRejection",
    "SharedToken",
    "StoreIdentity",
    "StoredState",
    "Subscription",
    "TokenStore",
    "UnreadableEntry",
]
