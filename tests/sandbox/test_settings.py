"""Attributes that have other values within a block."""

from __future__ import annotations

from contextlib import suppress

import pytest

from okta_tokens.sandbox import Fault, Sandbox
from tests.sandbox.support import Harness


def values(sandbox: Sandbox) -> tuple[object, ...]:
    """Return the values of the attributes that the tests change."""
    return sandbox.latency, sandbox.fault, sandbox.outage_windows, sandbox.rate_limit


def test_values_are_restored_after_nested_blocks_and_errors() -> None:
    """Each block restores the values that it found, also after an exception."""
    sandbox, drop = Sandbox(rate_limit=5), Fault.drop()
    sandbox.latency = 1

    with suppress(ZeroDivisionError), sandbox.temporarily(latency=2, rate_limit=None):
        with sandbox.temporarily(latency=(3, 4), fault=drop, outage_windows=[(0, 1)]):
            assert values(sandbox) == ((3, 4), drop, ((0, 1),), None)
        assert values(sandbox) == (2, None, (), None)
        raise ZeroDivisionError
    assert values(sandbox) == (1, None, (), 5)


def test_an_unknown_name_and_an_invalid_value_change_nothing() -> None:
    """An unknown name is a `TypeError` with the valid names, and values are checked as always."""
    sandbox = Sandbox()

    with (
        pytest.raises(TypeError, match=r"delay is not an attribute .*\. Use .* latency, "),
        sandbox.temporarily(latency=1, delay=1),  # type: ignore[call-arg]  # deliberately
    ):
        pass
    with (
        pytest.raises(ValueError, match="rate_limit is not a number"),
        sandbox.temporarily(latency=1, rate_limit="5"),  # type: ignore[arg-type]  # deliberately
    ):
        pass
    assert sandbox.latency == 0


async def test_limits_can_be_set_at_any_time(harness: Harness) -> None:
    """A rate limit and a concurrency limit apply from the next request on."""
    with harness.sandbox.temporarily(rate_limit=0):
        assert (await harness.request_token()).status == 429
    with harness.sandbox.temporarily(concurrency_limit=0):
        assert (await harness.request_token()).status == 429
    assert (await harness.request_token()).status == 200
