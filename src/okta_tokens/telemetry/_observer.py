"""The observer that measures, and the instruments that events change."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import MeterProvider, get_meter, get_meter_provider

from okta_tokens import TokenProvider, __version__
from okta_tokens._runtime.arguments import checked
from okta_tokens.errors import ConfigurationError, OAuthError
from okta_tokens.events import (
    AttemptFailed,
    Event,
    FailureEvent,
    FetchEvent,
    FetchFailed,
    KeyEvent,
    RequestsPaused,
    StoreFailed,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    TokenWithdrawn,
)
from okta_tokens.telemetry._attributes import (
    ERROR_TYPE,
    REASON,
    STATUS,
    Attributes,
    of_domain,
    of_key,
)
from okta_tokens.telemetry._gauges import Gauges, gauges_of

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds; the advice of the semantic conventions for HTTP."""

_MAX_CODES = 50
_OTHER = "_OTHER"
"""The semantic conventions' name for an error that has no name of its own."""


class OpenTelemetryObserver:
    """An observer that measures providers through the API of OpenTelemetry.

    Pass it to one or several providers. It holds them weakly, and the gauges of a provider vanish
    when the provider is closed. Measuring costs a hit nothing, because a hit makes no event. What
    becomes of the measurements is decided by the SDK of OpenTelemetry, which the service sets up;
    without it, nothing is measured.

    Args:
        meter_provider: Makes the instruments; None for the global one, which must be set before the
            first provider of tokens starts.
        client_id: Whether measurements name the client, as `okta_tokens.client_id`. False is for
            services with very many clients, since each one has time series of its own.

    Raises:
        ConfigurationError: If `meter_provider` makes no meters, or `client_id` is no boolean.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, client_id: bool = True
    ) -> None:
        problem = _argument_problem(meter_provider, client_id)
        if problem:
            del self, meter_provider, client_id  # a caller may have passed a secret
            raise ConfigurationError(problem)
        self._meter_provider = meter_provider
        self._client_id = client_id
        self._gauges: Gauges | None = None
        self._codes: set[str] = set()
        meter = get_meter("okta_tokens", __version__, meter_provider)
        self._request_duration = meter.create_histogram(
            "okta_tokens.request.duration",
            unit="s",
            description="How long the token requests took.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._wait_duration = meter.create_histogram(
            "okta_tokens.wait.duration",
            unit="s",
            description="How long callers waited for a token: the first one of each fetch.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._invalidations = meter.create_counter(
            "okta_tokens.invalidations",
            unit="{token}",
            description="The tokens that were dropped because an API rejected them.",
        )
        self._withdrawals = meter.create_counter(
            "okta_tokens.withdrawals",
            unit="{token}",
            description="The tokens that were dropped because another process discarded them.",
        )
        self._pauses = meter.create_counter(
            "okta_tokens.pauses",
            unit="{pause}",
            description="The responses that paused the requests to a domain.",
        )
        self._store_errors = meter.create_counter(
            "okta_tokens.store.errors",
            unit="{error}",
            description="The outages of the shared store.",
        )
        self._adopted = meter.create_counter(
            "okta_tokens.tokens.adopted",
            unit="{token}",
            description="The tokens that another process had fetched.",
        )

    def attach(self, provider: TokenProvider) -> None:
        """Show a provider in the gauges; a provider calls this when it starts.

        Args:
            provider: The provider.
        """
        given = self._meter_provider
        self._gauges = gauges_of(get_meter_provider() if given is None else given)
        self._gauges.add(provider, client_id=self._client_id)

    def __call__(self, event: Event) -> None:
        """Measure an event.

        Args:
            event: The event.
        """
        if self._gauges is not None:
            self._gauges.update(event)
        match event:
            case TokenFetched():
                self._request_duration.record(event.duration, {**self._of(event), STATUS: 200})
                self._record_wait(event, event.waiters)
            case TokenAdopted():
                self._adopted.add(1, self._of(event))
                self._record_wait(event, event.waiters)
            case AttemptFailed() if event.reason != "revocation":
                status = {} if event.status is None else {STATUS: event.status}
                self._request_duration.record(event.duration, {**self._of(event), **status})
            case FetchFailed():
                self._record_wait(event, event.waiters)
            case TokenInvalidated():
                self._invalidations.add(1, self._of(event))
            case TokenWithdrawn():
                self._withdrawals.add(1, self._of(event))
            case RequestsPaused():
                self._pauses.add(1, {**dict(of_domain(event.domain)), STATUS: event.status})
            case StoreFailed():
                # Otherwise the store did not respond in time, and the reason is a sentence.
                kind = event.reason if event.reason.isidentifier() else "timeout"
                self._store_errors.add(1, {ERROR_TYPE: kind})
            case _:
                pass

    def _record_wait(self, event: FetchEvent, waiters: int) -> None:
        if waiters:
            self._wait_duration.record(event.waited, self._of(event))

    def _of(self, event: KeyEvent) -> dict[str, str | int]:
        """Return the attributes of an event, as far as every instrument has them."""
        attributes: Attributes = of_key(event.key, client_id=self._client_id)
        if isinstance(event, FetchEvent):
            attributes = (*attributes, (REASON, event.reason))
        if isinstance(event, FailureEvent):
            attributes = (*attributes, (ERROR_TYPE, self._error_type(event)))
        return dict(attributes)

    def _error_type(self, event: FailureEvent) -> str:
        """Return the code or the class of an error; few codes, since a server may send any."""
        kind = event.error_type
        if issubclass(type(event.error), OAuthError) and kind not in self._codes:
            if len(self._codes) >= _MAX_CODES:
                return _OTHER
            self._codes.add(kind)
        return kind


def _argument_problem(meter_provider: Any, client_id: object) -> str | None:  # noqa: ANN401 - a caller may pass anything
    """Return what is wrong with the arguments of an observer, without their values."""
    makes_meters = checked(lambda: callable(meter_provider.get_meter), problem=False)
    if meter_provider is not None and not makes_meters:
        return (
            "meter_provider: must be a MeterProvider of OpenTelemetry; leave it out for the global "
            "one"
        )
    if type(client_id) is not bool:
        return "client_id: must be True or False, which says whether metrics name the clients"
    return None
