"""Tests of `okta_tokens.telemetry`, with the SDK of OpenTelemetry."""
