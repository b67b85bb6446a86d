"""The coverage-guided half: atheris draws the bytes, and the properties of the tests judge."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

TARGETS = {"answer": "tests.fuzz.test_answer", "validators": "tests.fuzz.test_validators"}
"""Whose Hypothesis tests a target is."""

_PADDING = bytes(8_192)
"""After what was drawn come the simplest choices, so that few inputs are too short to mean one."""


def load(target: str) -> Callable[[bytes], None]:
    """Return what runs one property of a target on bytes; the first byte says which."""
    module = importlib.import_module(TARGETS[target])
    tests: list[Any] = [
        test for name, test in sorted(vars(module).items()) if hasattr(test, "hypothesis")
    ]
    properties = [test.hypothesis.fuzz_one_input for test in tests]

    def run(data: bytes) -> None:
        which = data[0] if data else 0
        properties[which % len(properties)](data[1:] + _PADDING)

    return run


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer has had enough, or something goes wrong; does not return.

    Args:
        arguments: The target, then libFuzzer's own.
    """
    import atheris  # noqa: PLC0415 - an extra, which the rest does without

    target, *options = arguments
    with atheris.instrument_imports(include=["okta_tokens", "email._parseaddr"]):
        run = load(target)
    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
