"""The types of arguments."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from okta_tokens.cli import _arguments as arguments
from okta_tokens.sandbox import Fault


@pytest.mark.parametrize(
    ("read", "text", "expected"),
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
    ],
)
def test_a_word_becomes_a_value(read: Callable[[str], object], text: str, expected: object) -> None:
    """What is well-formed is read as the help says."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((arguments.seconds, text) for text in ("0", "-1", "inf", "nan", "soon", "")),
        *((arguments.count, text) for text in ("0", "-1", "1.5", "²", "")),
        *((arguments.port, text) for text in ("65536", "-1", "http")),
        *((arguments.delay, text) for text in ("-1", "0.5-0.1", "0.1-", "a-b", "nan", "1-inf")),
        *((arguments.window, text) for text in ("30", "30:0", ":5", "-1:5", "a:b", "1:inf")),
        *((arguments.lifetime, text) for text in ("5", "=5", " =5", "a=", "a=0", "a=1.5")),
        *((arguments.fault, text) for text in ("404", "flood", "drop:0", "drop:", "")),
    ],
)
def test_nonsense_is_refused_with_its_own_words(read: Callable[[str], object], text: str) -> None:
    """What cannot be right is refused in words, which argparse shows."""
    with pytest.raises(ArgumentTypeError, match=r"is (no|not|neither) "):
        read(text)


@pytest.mark.parametrize("name", [*arguments._FAULTS])
def test_every_fault_has_a_name(name: str) -> None:
    """Each fault that the help names can be had."""
    kind, times = arguments.fault(name)

    assert isinstance(kind, Fault)
    assert times is None
