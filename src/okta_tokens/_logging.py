"""Write events to the application's log, through structlog or the standard library."""

from __future__ import annotations

import logging
from typing import Any

import structlog
from structlog.typing import EventDict

from okta_tokens._model.key_identity import log_fields
from okta_tokens._model.scopes import format_scopes
from okta_tokens._model.token_key import TokenKey
from okta_tokens.errors import TokenProviderError
from okta_tokens.events import Event, Level

_LEVEL_NUMBERS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_STANDARD_LOGGER = logging.getLogger("okta_tokens")
_render = structlog.processors.KeyValueRenderer(key_order=["event"])


def _log_arguments(
    logger: object, method: str, fields: EventDict
) -> tuple[tuple[str], dict[str, Any]]:
    """Return the arguments of the standard logger's method: the fields as text and as `extra`."""
    return (_render(logger, method, dict(fields)),), {"extra": fields}


_WRAPPED_LOGGER: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    _STANDARD_LOGGER,
    processors=[structlog.stdlib.filter_by_level, _log_arguments],
    wrapper_class=structlog.stdlib.BoundLogger,
)


def log_event(event: Event) -> None:
    """Log an event; every provider has this observer.

    If the application has configured structlog, structlog handles the event. Otherwise the event
    becomes one record of the standard library's logger `okta_tokens`: its message is a line with
    every field, and its attributes are the same fields, for formatters that write JSON. If the
    application has configured neither, Python's handler of last resort writes warnings and errors
    to stderr.

    Args:
        event: The event to log, at its own level.
    """
    if is_logged(type(event)):
        getattr(event_logger(), event.level)(event.name, **_event_fields(event))


def is_logged(kind: type[Event]) -> bool:
    """Tell whether `log_event` passes an event on to a logger that wants it.

    Args:
        kind: The type of the event.
    """
    return structlog.is_configured() or _STANDARD_LOGGER.isEnabledFor(_LEVEL_NUMBERS[kind.level])


def event_logger() -> structlog.stdlib.BoundLogger:
    """Return a structlog logger if the application configured structlog, else the standard one."""
    if structlog.is_configured():
        logger: structlog.stdlib.BoundLogger = structlog.get_logger("okta_tokens").bind()
        # An asynchronous logger wraps a synchronous one. Its own methods are coroutines, which no
        # task would await here.
        return getattr(logger, "sync_bl", logger)
    return _WRAPPED_LOGGER


def _event_fields(event: Event) -> dict[str, object]:
    """Return the fields of an event as plain values, those of keys and errors flattened."""
    fields: dict[str, object] = {}
    for name, value in vars(event).items():
        if isinstance(value, TokenKey):
            fields |= log_fields(value)
        elif isinstance(value, TokenProviderError):
            fields |= _error_fields(value)
        elif isinstance(value, frozenset):
            fields[name] = format_scopes(value)
        else:
            fields[name] = round(value, 3) if isinstance(value, float) else value
    return fields


def _error_fields(error: TokenProviderError) -> dict[str, object]:
    fields: dict[str, object] = {"error": type(error).__name__, "error_message": str(error.args[0])}
    for name in ("status", "error", "attempts", "retryable", "request_id", "error_id"):
        if (value := getattr(error, name, None)) is not None:
            fields["code" if name == "error" else name] = value
    return fields
