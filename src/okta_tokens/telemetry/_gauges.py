"""The instruments that a reader asks for their values: one set for each meter provider."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from threading import Lock
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Meter, MeterProvider, Observation, get_meter

from okta_tokens import TokenProvider, __version__
from okta_tokens._runtime.clock import Instant
from okta_tokens._status import Outlook
from okta_tokens.errors import TokenProviderError
from okta_tokens.events import Event
from okta_tokens.telemetry._attributes import ERROR_TYPE, STATE, Attributes, of_domain, of_key
from okta_tokens.telemetry._watch import Watch


class Gauges:
    """Values of all providers that measure through one meter provider.

    A meter provider asks only the first instrument of a name, so several observers share this. The
    callbacks run in the threads of readers. They take no lock, and read only what the event loops
    have published.

    Args:
        meter: Makes the instruments.
    """

    def __init__(self, meter: Meter) -> None:
        self._lock = Lock()  # providers of several event loops may start at once
        # In one object, so that no error of a provider that ends is counted twice or not at all.
        self._watched: tuple[tuple[Watch, ...], Counter[type[TokenProviderError]]]
        self._watched = (), Counter()
        meter.create_observable_gauge(
            "okta_tokens.token.remaining",
            [lambda _: _observations(self._remaining())],
            unit="s",
            description="The least time for which callers still get the token that is held.",
        )
        meter.create_observable_gauge(
            "okta_tokens.keys",
            [lambda _: _observations(self._keys())],
            unit="{key}",
            description="The keys in the cache.",
        )
        meter.create_observable_gauge(
            "okta_tokens.renewal.consecutive_failures",
            [lambda _: _observations(self._failures())],
            unit="{failure}",
            description="The most fetches and renewals of a key that failed in a row.",
        )
        meter.create_observable_gauge(
            "okta_tokens.clock.offset",
            [lambda _: _observations(self._offsets())],
            unit="s",
            description="How far Okta's clock is ahead of this machine's clock.",
        )
        meter.create_observable_counter(
            "okta_tokens.errors.served",
            [lambda _: _observations(self._errors_served())],
            unit="{error}",
            description="The errors that callers got instead of a token.",
        )

    def add(self, provider: TokenProvider, *, client_id: bool) -> None:
        """Watch a provider from now on; call this on its event loop.

        Args:
            provider: The provider.
            client_id: Whether measurements name the client.
        """
        with self._lock:
            watches, served = self._watched
            ended = {watch for watch in watches if watch.has_ended()}
            served = sum((watch.errors_served for watch in ended), served)
            running = [watch for watch in watches if watch not in ended]
            self._watched = (*running, Watch(provider, client_id=client_id)), served

    def update(self, event: Event) -> None:
        """Publish what an event may have changed.

        Args:
            event: The event.
        """
        for watch in self._watched[0]:
            watch.update(event)

    def _running(self) -> Iterator[Watch]:
        return (watch for watch in self._watched[0] if not watch.has_ended())

    def _outlooks(self) -> Iterator[tuple[Attributes, Outlook, Instant]]:
        for watch in self._running():
            for key, outlook, now in watch.outlooks():
                yield of_key(key, client_id=watch.client_id), outlook, now

    def _remaining(self) -> Mapping[Attributes, float]:
        """Observe the key that is next to be without a token.

        A key without a token counts only if a fetch of it failed: no caller may ever need others.
        A token that is left to expire, because no caller uses it, does not count.
        """
        least: dict[Attributes, float] = {}
        for attributes, outlook, now in self._outlooks():
            if (outlook.has_token or outlook.failures) and not outlook.is_idle:
                seconds = outlook.remaining(now)
                least[attributes] = min(seconds, least.get(attributes, math.inf))
        return least

    def _keys(self) -> Mapping[Attributes, float]:
        return Counter(
            (*attributes, (STATE, outlook.state(now).value))
            for attributes, outlook, now in self._outlooks()
        )

    def _failures(self) -> Mapping[Attributes, float]:
        most: dict[Attributes, int] = {}
        for attributes, outlook, _ in self._outlooks():
            most[attributes] = max(outlook.failures, most.get(attributes, 0))
        return most

    def _offsets(self) -> Mapping[Attributes, float]:
        return {
            of_domain(domain): seconds
            for watch in self._running()
            for domain, seconds in watch.clock_offsets().items()
        }

    def _errors_served(self) -> Mapping[Attributes, float]:
        watches, served = self._watched
        total = sum((Counter(dict(watch.errors_served)) for watch in watches), served)
        return {((ERROR_TYPE, kind.__name__),): number for kind, number in total.items()}


def _observations(values: Mapping[Attributes, float]) -> list[Observation]:
    return [Observation(value, dict(attributes)) for attributes, value in values.items()]


_GAUGES: WeakKeyDictionary[MeterProvider, Gauges] = WeakKeyDictionary()
_LOCK = Lock()


def gauges_of(meter_provider: MeterProvider) -> Gauges:
    """Return the gauges of a meter provider; make them when they are first needed.

    Args:
        meter_provider: The meter provider.
    """
    with _LOCK:
        gauges = _GAUGES.get(meter_provider)
        if gauges is None:
            gauges = Gauges(get_meter("okta_tokens", __version__, meter_provider))
            _GAUGES[meter_provider] = gauges
        return gauges
