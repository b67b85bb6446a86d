"""Metrics of a provider through OpenTelemetry.

Example:
    ```python
    from okta_tokens.telemetry import OpenTelemetryObserver

    async with TokenProvider(observers=[OpenTelemetryObserver()]) as provider:
        ...
    ```
"""

try:
    from okta_tokens.telemetry._observer import OpenTelemetryObserver
except ModuleNotFoundError as _error:
    _error.add_note("install the extra: pip install 'okta-tokens[otel]'")
    raise

__all__ = ["OpenTelemetryObserver"]
