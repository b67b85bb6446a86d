"""The state of one provider as its event loop has published it, for the threads of readers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator, Mapping

from okta_tokens import TokenKey, TokenProvider
from okta_tokens._runtime.clock import Instant, current_instant
from okta_tokens._status import Outlook, outlook
from okta_tokens.events import Event, KeyEvent

_MAX_LOST = 1_000
"""How many outlooks may be left of keys that the provider dropped. A provider that drops tens of
thousands of keys at once delivers only the latest of their events."""


class Watch:
    """What a provider has published: for each key an immutable outlook, replaced by each event.

    The event loop never waits for a reader, and a reader never waits for the event loop: it copies
    the table of outlooks at once, and applies the current time to the copy. So a token that expires
    without an event has expired for the reader, too.

    Args:
        provider: The provider, whose event loop runs this. It is held weakly.
        client_id: Whether measurements name the client.
    """

    def __init__(self, provider: TokenProvider, *, client_id: bool) -> None:
        self.client_id = client_id
        self.errors_served = provider._manager.errors_served
        """The number of errors that callers got, of each type. Only the event loop changes it."""
        self._provider = weakref.ref(provider)
        self._loop = asyncio.get_running_loop()
        self._clock = provider._clock
        self._clock_offsets: Mapping[str, float] = {}
        self._outlooks: dict[TokenKey, Outlook] = {}
        self._publish_all(provider)

    def has_ended(self) -> bool:
        """Tell whether the provider was freed, or serves no caller any more; from any thread."""
        provider = self._provider()
        ended = provider is None or provider._lifecycle.has_ended()
        if ended:
            self._outlooks.clear()
        return ended

    def update(self, event: Event) -> None:
        """Publish what an event may have changed.

        Events do not name their provider, so this looks the key up in each one of the event loop
        that delivers the event.

        Args:
            event: An event of this provider or of another one.
        """
        provider = self._provider()
        if asyncio._get_running_loop() is not self._loop or provider is None or self.has_ended():
            return
        self._clock_offsets = provider._registry.clock_offsets()
        entries = provider._manager.entries
        if len(self._outlooks) > len(entries) + _MAX_LOST:
            self._publish_all(provider)
        elif isinstance(event, KeyEvent):
            entry = entries.get(event.key)
            if entry is None:
                self._outlooks.pop(event.key, None)
            else:
                self._outlooks[event.key] = outlook(entry, current_instant(self._clock))

    def _publish_all(self, provider: TokenProvider) -> None:
        now = current_instant(self._clock)
        self._outlooks = {entry.key: outlook(entry, now) for entry in provider._manager.entries}

    def outlooks(self) -> Iterator[tuple[TokenKey, Outlook, Instant]]:
        """Yield each key, its outlook and the current time, to any thread."""
        now = current_instant(self._clock)
        for key, view in self._outlooks.copy().items():  # the event loop cannot interrupt `copy`
            yield key, view, now

    def clock_offsets(self) -> Mapping[str, float]:
        """Return by domain how many seconds Okta's clock is ahead, to any thread."""
        return self._clock_offsets
