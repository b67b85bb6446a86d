"""Argument types."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from okta_tokens.cli import _arguments as arguments
from okta_tokens.sandbox import Fault


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (arguments.seconds, "0.5", 0.5),
        (arguments.count, "7", 7),
        (arguments.port, "0", 0),
        (arguments.delay, "0.2", 0.2),
        (arguments.delay, "0", 0.0),
        (arguments.delay, "0.1-0.5", (0.1, 0.5)),
        (arguments.window, "0:2.5", (0.0, 2.5)),
        (arguments.lifetime, "a b=5", ("a b", 5)),
        (arguments.lifetime, "a=b=5", ("a=b", 5)),
        (arguments.fault, "503", (Fault.status(503), None)),
        (arguments.fault, "drop", (Fault.drop(), None)),
        (arguments.fault, "junk:2", (Fault.junk(), 2)),
        (arguments.fault_name, "outage", "outage"),
        (arguments.fault_name, "504", "504"),
        (arguments.fault_name, "none", "none"),
        (arguments.duration, "30", 30.0),
        (arguments.duration, "30s", 30.0),
        (arguments.duration, "1.5m", 90.0),
        (arguments.duration, "1h", 3600.0),
        (arguments.duration, "500ms", 0.5),
        (arguments.whole_duration, "1m", 60),
        (arguments.changed_latency, "0", 0.0),
        (arguments.changed_latency, "2s", 2.0),
        (arguments.changed_latency, "100ms-2", (0.1, 2.0)),
        (arguments.offset, "+5m", 300.0),
        (arguments.offset, "-5m", -300.0),
        (arguments.offset, "0", 0.0),
    ],
)
def test_a_valid_word_becomes_a_value(
    parse: Callable[[str], object], text: str, expected: object
) -> None:
    """A word that has the documented form becomes a value."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *(
            (arguments.seconds, text)
            for text in ("0", "inf", "nan", "soon", "1_0", "1e1", " 5", "\u0665", "+5", "9" * 5000)
        ),
        *(
            (arguments.count, text)
            for text in ("0", "1.5", "²", "", "1_0", "\u0665", " 5", "9" * 5000)
        ),
        *((arguments.port, text) for text in ("65536", "-1", "\u0668\u0660", "8_0")),
        *((arguments.delay, text) for text in ("-1", "0.5-0.1", "0.1-", "a-b", "1-inf")),
        *((arguments.window, text) for text in ("30", "30:0", ":5", "-1:5", "1:inf")),
        *((arguments.lifetime, text) for text in ("5", " =5", "a=", "a=0")),
        *(
            (arguments.fault, text)
            for text in ("404", "5_03", "\u0665\u0660\u0663", "flood", "drop:0", "drop:")
        ),
        *((arguments.fault_name, text) for text in ("404", "flood", "drop:1", "drop:", "none:1")),
        *(
            (arguments.duration, text)
            for text in ("0", "0s", "-1s", "30 s", "30S", "1d", "s", "", "\u0665s", "9" * 5000)
        ),
        *((arguments.whole_duration, text) for text in ("500ms", "1.5s", "0", "x")),
        *((arguments.changed_latency, text) for text in ("2s-1s", "-1", "1s-", "x", "1-2-3")),
        *((arguments.offset, text) for text in ("", "+", "++5m", "+-5m", "soon")),
    ],
)
def test_an_invalid_word_is_rejected(parse: Callable[[str], object], text: str) -> None:
    """A word of any other form is rejected with what to give instead, and is not repeated."""
    with pytest.raises(ArgumentTypeError, match=r"^give "):
        parse(text)


@pytest.mark.parametrize("name", Fault.names())
def test_every_fault_has_a_name(name: str) -> None:
    """Every fault that the help names exists."""
    fault, times = arguments.fault(name)

    assert isinstance(fault, Fault)
    assert times is None
