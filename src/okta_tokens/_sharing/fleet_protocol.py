"""The optional parts of a shared store: what lets a fleet share failures, rejections and news."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._sharing.store_protocol import SharedToken, TokenStore


class SharedFailure(NamedTuple):
    """A failed fetch or renewal, as processes share it. All times are by Okta's clock.

    It contains no secret. A store encrypts and authenticates the values all the same, and writes
    them in a format of its own.
    """

    kind: str
    """The name of the error's class in `okta_tokens.errors`."""
    message: str
    """The error's message."""
    facts: Mapping[str, str | int | bool | None]
    """The error's attributes, such as `status` and `request_id`."""
    failures: int
    """How many fetches or renewals of the fleet failed in a row."""
    failed_at: float
    """When the request failed, in seconds since the Unix epoch."""
    until: float
    """The end of the cool-down, in seconds since the epoch."""
    renew_at: float
    """Before this moment no process renews its token, in seconds since the epoch."""
    processes: tuple[str, ...] = ()
    """The random names of the processes that failed since the last back-off, if the failure may be
    one process's own, such as a broken connection; at most three."""


class SharedRejection(NamedTuple):
    """That an API rejected a token of an identity, as processes share it."""

    damping: float
    """For how long the replacement of the rejected token is kept if it is rejected too, in
    seconds."""
    rejected_at: float
    """When the token was rejected by Okta's clock, in seconds since the epoch."""


class StoredState(NamedTuple):
    """What a store holds about an identity."""

    token: SharedToken | None = None
    """The stored token, unless it was discarded."""
    seconds: float = 0.0
    """The number of seconds until the store removes the token, by the store's own clock."""
    failure: SharedFailure | None = None
    """The last failure, also after its cool-down, until a token was stored or the failure's time
    in the store was over."""
    rejection: SharedRejection | None = None
    """The last rejection, until its time in the store was over."""
    held_is_discarded: bool = False
    """Whether the token that the process holds was discarded."""
    failure_seconds: float = math.inf
    """The number of seconds until the store removes the failure, by the store's own clock."""


class DomainState(NamedTuple):
    """What a store holds about a part of a domain."""

    pause: tuple[float, float] | None = None
    """As `TokenStore.paused` returns it."""
    cleared_at: float | None = None
    """When the tokens of the client, or of all clients, were cleared everywhere the last time, by
    Okta's clock, in seconds since the epoch. Tokens that were requested before are not used."""


@runtime_checkable
class FleetStore(TokenStore, Protocol):
    """A store that also shares failures, rejections and clearings.

    A store of your own need not have this part: without it each process finds out by itself that
    Okta is unavailable, and tokens that one process rejected stay in use in the others.
    """

    async def look(self, identity: StoreIdentity, held: str | None) -> StoredState:
        """Return what is stored about an identity, in one round trip.

        Args:
            identity: The identity of the token.
            held: The value of the token that the process holds, or `None`.

        Raises:
            UnreadableEntry: If a stored entry cannot be used.
        """

    async def settle(
        self,
        identity: StoreIdentity,
        outcome: SharedToken | SharedFailure,
        seconds: float,
        lease: str | None,
    ) -> None:
        """Store the outcome of a fetch, end the lease, and notify those who wait, in one step.

        A token replaces the stored token, and removes the stored failure. A failure replaces the
        stored failure and leaves the stored token alone.

        Args:
            identity: The identity of the token.
            outcome: The token, or why there is none.
            seconds: After how many seconds, by its own clock, the store removes the outcome.
            lease: The identifier that `acquire` returned; `None` if this process has no lease.
        """

    async def extend(self, identity: StoreIdentity, lease: str, seconds: float) -> None:
        """Make a lease longer; do nothing if the lease has ended or another one began.

        Args:
            identity: The identity of the token.
            lease: The identifier that `acquire` returned.
            seconds: After how many seconds from now, by the store's own clock, the lease ends.
        """

    async def reject(
        self,
        identity: StoreIdentity,
        value: str,
        seconds: float,
        rejection: SharedRejection | None,
    ) -> None:
        """Discard a token as `TokenStore.discard` does, and notify the other processes.

        Args:
            identity: The identity of the token.
            value: The value of the token.
            seconds: For how long to remember the token, and the rejection.
            rejection: What to store about the rejection, in place of an earlier one; `None` if the
                token was revoked or cleared, not rejected. Then an earlier one stays.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """

    async def look_at_domain(self, domain: StoreIdentity, client: StoreIdentity) -> DomainState:
        """Return what is stored about a part of a domain, in one round trip.

        Args:
            domain: The identity of the part.
            client: The identity of a client of the domain.

        Raises:
            UnreadableEntry: If a stored entry cannot be used.
        """

    async def clear(
        self, domain: StoreIdentity, client: StoreIdentity | None, at: float, seconds: float
    ) -> None:
        """Remember that the tokens of a client were cleared, and notify the other processes.

        Args:
            domain: The identity of the part of a domain.
            client: The identity of the client; `None` for all clients of the part.
            at: The present moment by Okta's clock, in seconds since the epoch. A later moment that
                is stored already stays.
            seconds: For how long to remember it.
        """


class Subscription(Protocol):
    """A connection over which a store tells that something about an identity changed.

    A notification has no content: the process looks into the store to learn what changed.
    """

    async def add(self, *identities: StoreIdentity) -> None:
        """Begin to receive the notifications of identities, of tokens and of parts of domains.

        What changes after this call has returned is not missed, while the connection lasts. An
        identity that was added before is added once.

        Args:
            *identities: The identities.

        Raises:
            NotificationsRefusedError: If the server refuses.
            Exception: If the connection was lost.
        """

    async def remove(self, *identities: StoreIdentity) -> None:
        """Receive no more notifications of identities; one that is under way may still arrive.

        Args:
            *identities: The identities.
        """

    async def next(self) -> StoreIdentity:
        """Wait for the next notification, and return the identity that it is about.

        It is called by one task, while other tasks call `add` and `remove`. Several notifications
        of an identity, for which no call has waited yet, may become one. A cancelled call loses
        no notification.

        Raises:
            Exception: If the connection was lost; the process then subscribes anew.
        """

    async def aclose(self) -> None:
        """Close the connection; do nothing if it is closed. A waiting `next` raises an error."""


class NotificationsRefusedError(Exception):
    """The server refuses subscriptions, for example because the user has no right to them."""


@runtime_checkable
class NotifyingStore(TokenStore, Protocol):
    """A store that notifies processes. Without this part they read the store again and again.

    After `save`, `discard` and `release`, and after `settle`, `reject` and `clear` of a
    `FleetStore`, the store notifies all processes that subscribed to the identity, perhaps also the
    one that called the method.
    """

    async def subscribe(self, *identities: StoreIdentity) -> Subscription | None:
        """Open a connection for notifications, and begin to receive those of identities.

        The provider calls it once for each event loop, and closes the subscription.

        Args:
            *identities: The identities to begin with, as for `Subscription.add`.

        Returns:
            The subscription; `None` if the client library cannot subscribe to this kind of server.

        Raises:
            NotificationsRefusedError: If the server refuses; the store works all the same.
        """
